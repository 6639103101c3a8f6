"""What a run is made of: which folder means what, and how the figures are to be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_slimming.config import InputContract, Run, UserError
from gan_slimming.data.folder import PictureSet
from gan_slimming.data.latents import LatentSet
from gan_slimming.data.training_data import fits, open_material, protocol

NOISE = InputContract(latent_size=4, classes=2)
RUN = Run(size=32, holdout=2, latents=7, seed=3)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(5):
        Image.new("RGB", (20, 20), (i * 40, 0, 0)).save(tmp_path / f"{i}.png")
    return tmp_path


def test_pictures_come_from_a_folder_and_targets_at_the_outputs_size(photos: Path) -> None:
    made = open_material(InputContract(scale=2), RUN, 64, photos, photos)
    assert isinstance(made.feed, PictureSet)
    assert (len(made.feed), len(made.held)) == (3, 2)
    assert made.targets is not None
    assert made.feed.pixels.shape[-1] == 32
    assert made.targets.pixels.shape == (5, 3, 64, 64)


@pytest.mark.parametrize("named", ["data", "targets"])
def test_of_noise_either_folder_is_one_of_real_pictures(photos: Path, named: str) -> None:
    folders = {"data": None, "targets": None} | {named: photos}
    made = open_material(NOISE, RUN, 16, **folders)
    assert made.targets is not None
    assert made.targets.pixels.shape == (5, 3, 16, 16)
    assert isinstance(made.feed, LatentSet)
    assert (len(made.feed), len(made.held)) == (7, 2)
    assert made.feed.seed == 3
    shared = made.feed.fed(torch.arange(2))[0], made.held.fed(torch.arange(2), torch.zeros(2))[0]
    assert not torch.equal(*shared)
    assert open_material(NOISE, RUN, 16, None, None).targets is None


def test_folders_that_are_missing_or_too_many(photos: Path) -> None:
    with pytest.raises(UserError, match="name the pictures to train on"):
        open_material(InputContract(), RUN, 32, None, photos)
    with pytest.raises(UserError, match="leave out --data"):
        open_material(NOISE, RUN, 32, photos, photos)


def test_the_protocol_says_what_was_looked_at() -> None:
    assert protocol(InputContract(), RUN, 64, 5)["size"] == 32
    found = protocol(NOISE, RUN, 16, 5)
    assert (found["pictures"], found["size"]) == (5, 16)
    assert "resize" not in found
    assert [fits(size, InputContract(multiple_of=4, min_size=8)) for size in (4, 8, 10)] == [
        False,
        True,
        False,
    ]
