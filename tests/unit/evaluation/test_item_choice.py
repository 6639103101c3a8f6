"""The inputs of an evaluation: of a dataset, a table or a folder of signals, the same for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gan_slimming.config import ExtraInput, InputContract
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.errors import UserError
from gan_slimming.evaluation.choice import Given
from gan_slimming.evaluation.item_choice import choose_items
from gan_slimming.evaluation.subjects import Subject

PHOTOS = [torch.full((3, 6, 8), value) for value in (-1.0, 0.0, 0.5)]
CLASSED = InputContract(extras=(ExtraInput("class", 3),))


def subject(contract: InputContract, name: str = "net") -> Subject:
    return Subject(name, generator=GeneratorAdapter(nn.Identity(), contract))


def test_a_dataset_gives_its_items_at_their_own_size() -> None:
    items = choose_items([subject(InputContract())], [None], Given(dataset=PHOTOS))
    assert items.names == ("00000", "00001", "00002")
    assert items.label == "dataset list"
    assert items.read is not None
    assert torch.equal(items.read(2)[0], PHOTOS[2])


def test_a_table_gives_further_inputs(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("RGB", (12, 10), (255, 0, 0)).save(tmp_path / f"{name}.png")
    path = tmp_path / "pairs.csv"
    path.write_text("input,class\na.png,2\nb.png,1\na.png,0")
    items = choose_items([subject(CLASSED)], [None], Given(path))
    assert items.names == ("a", "b", "a-2")
    assert items.read is not None
    image, number = items.read(0)
    assert image.shape == (3, 10, 12)
    assert image[:, 0, 0].tolist() == [1, -1, -1]
    assert int(number) == 2
    square = choose_items([subject(CLASSED)], [None], Given(path, size=8))
    assert square.read is not None
    assert square.read(0)[0].shape == (3, 8, 8)


def test_signals_are_whole_files_or_windows(tmp_path: Path) -> None:
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.random.rand(4, 10 + number))
    contract = InputContract(channels=4, scale=2, signal=True)
    whole = choose_items([subject(contract)], [None], Given(tmp_path))
    assert whole.names == ("0", "1", "2")
    assert whole.read is not None
    assert whole.read(2)[0].shape == (4, 12)
    windows = choose_items([subject(contract)], [None], Given(tmp_path, size=5))
    assert windows.names == ("0", "0", "1", "1", "2", "2")


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    two = [subject(InputContract()), subject(CLASSED, "other")]
    path = tmp_path / "pairs.csv"
    path.write_text("input,class\na.png,2")
    (tmp_path / "a.png").touch()
    for subjects, given, said in (
        (two, Given(dataset=PHOTOS), "must take the same inputs; got net, other"),
        (two[:1], Given(dataset=PHOTOS, split="held"), "--split held picks from --data"),
        (two[:1], Given(dataset=PHOTOS[:1]), r"has 1 item\(s\), at least 2"),
        (two[:1], Given(path), r"names 1 image\(s\), at least 2"),
        (two[:1], Given(path, split="held"), "--split held picks from a folder of images"),
        ([Subject("folder")], Given(dataset=PHOTOS), "feeds generators"),
        ([subject(InputContract(channels=4, signal=True))], Given(), "name the signals that net"),
    ):
        with pytest.raises(UserError, match=said):
            choose_items(subjects, [None], given)
