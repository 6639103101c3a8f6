"""What a run is made of: which folder means what, and how the figures are to be read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_slimming.config import InputContract, Memory, Run
from gan_slimming.data.latents import LatentSet
from gan_slimming.data.square_images import ImageSet
from gan_slimming.data.streamed import StreamedImages
from gan_slimming.data.training_data import open_training_data
from gan_slimming.errors import UserError

NOISE = InputContract(latent_size=4, classes=2)
RUN = Run(size=32, holdout=2, latents=7, seed=3)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(5):
        Image.new("RGB", (20, 20), (i * 40, 0, 0)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_images_come_from_a_folder_and_targets_at_the_outputs_size(photos: Path) -> None:
    made = open_training_data(InputContract(scale=2), RUN, 64, photos, photos)
    assert isinstance(made.inputs, ImageSet)
    assert (len(made.inputs), len(made.held)) == (3, 2)
    assert made.targets is not None
    assert made.inputs.pixels.shape[-1] == 32
    assert isinstance(made.targets, ImageSet)
    assert made.targets.pixels.shape == (5, 3, 64, 64)


@pytest.mark.parametrize("named", ["data", "targets"])
def test_of_noise_either_folder_is_one_of_real_images(photos: Path, named: str) -> None:
    folders = {"data": None, "targets": None} | {named: photos}
    made = open_training_data(NOISE, RUN, 16, **folders)
    assert made.targets is not None
    assert isinstance(made.targets, ImageSet)
    assert made.targets.pixels.shape == (5, 3, 16, 16)
    assert isinstance(made.inputs, LatentSet)
    assert (len(made.inputs), len(made.held)) == (7, 2)
    assert made.inputs.seed == 3
    shared = (
        made.inputs.batch(torch.arange(2))[0],
        made.held.batch(torch.arange(2), torch.zeros(2))[0],
    )
    assert not torch.equal(*shared)
    assert open_training_data(NOISE, RUN, 16, None, None).targets is None


def test_folders_that_are_missing_or_too_many(photos: Path) -> None:
    with pytest.raises(UserError, match="contract says 4; give its inputs by --dataset"):
        open_training_data(InputContract(channels=4), RUN, 32, photos, None)
    with pytest.raises(UserError, match="name the images to train on"):
        open_training_data(InputContract(), RUN, 32, None, photos)
    with pytest.raises(UserError, match="leave out --data"):
        open_training_data(NOISE, RUN, 32, photos, photos)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_that_exceeds_the_memory_is_streamed(photos: Path, workers: int) -> None:
    run = replace(RUN, memory=Memory(images=3 * 32 * 32 * 4), workers=workers)
    made = open_training_data(InputContract(), run, 32, photos, photos)
    assert isinstance(made.inputs, StreamedImages)
    assert isinstance(made.held, ImageSet)
    assert isinstance(made.targets, StreamedImages)
    assert (len(made.inputs), len(made.held), len(made.targets)) == (3, 2, 5)
    assert made.inputs.workers == workers
    whole = open_training_data(InputContract(), RUN, 32, photos, photos)
    drawn = torch.tensor([2, 0]), torch.tensor([1, 0])
    for inputs, other in ((made.inputs, whole.inputs), (made.targets, whole.targets)):
        assert other is not None
        assert torch.equal(inputs.batch(*drawn)[0], other.batch(*drawn)[0])
