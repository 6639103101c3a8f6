"""A CSV of images and further inputs: each row's values go with its image, mirrored and cropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_slimming.config import ExtraInput, InputContract, Run
from gan_slimming.data.image_list import changes, list_set
from gan_slimming.data.table import read_table
from gan_slimming.data.training_data import open_training_data
from gan_slimming.errors import UserError

EXTRAS = (
    ExtraInput("class", 5), ExtraInput("label", 2), ExtraInput("mask", 1), ExtraInput("mask", 3),
    ExtraInput("image"),
)  # fmt: skip
CONTRACT = InputContract(extras=EXTRAS)
RUN = Run(size=32, holdout=2)
HEADINGS = "input,class_1,label_2,mask_3,mask_4,image,note"
COUNT = 6


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Image n is of grey 20 n on its left; so is its mask, its map and its reference image."""
    lines = [HEADINGS]
    for number in range(COUNT):
        half = np.zeros((40, 40), np.uint8)
        half[:, :20] = 1
        for name, grey in (("photo", 20 * number), ("other", 20 * number + 5)):
            whole = half * grey
            Image.fromarray(np.stack([whole] * 3, -1)).save(tmp_path / f"{name}{number}.png")
        Image.fromarray(half * 255).save(tmp_path / f"mask{number}.png")
        ids = Image.fromarray(half * (number % 3), mode="P")
        ids.putpalette([200, 10, 10, 1, 2, 3, 90, 90, 90])
        ids.save(tmp_path / f"map{number}.png")
        cells = f"photo{number}.png,{number % 5},{number} 1,mask{number}.png,map{number}.png"
        lines.append(f"{cells},other{number}.png,free text")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(lines))
    return path


def batch(data: object, augmentation: int, downscale: int = 1) -> list[Tensor]:
    count = len(data)  # pyright: ignore
    chosen = torch.full((count,), augmentation)
    return list(data.batch(torch.arange(count), chosen, downscale))  # pyright: ignore


@pytest.mark.parametrize(("augmentation", "downscale"), [(0, 1), (1, 1), (0, 2), (4, 2), (5, 2)])
def test_values_and_files_go_with_their_image(
    listed: Path, augmentation: int, downscale: int
) -> None:
    opened = open_training_data(CONTRACT, RUN, 32, listed, None)
    assert (len(opened.inputs), len(opened.held)) == (COUNT - 2, 2)
    for data in (opened.inputs, opened.held):
        images, classes, labels, mask, one_hot, other = batch(data, augmentation, downscale)
        side = 32 // downscale
        for extra, made in zip(EXTRAS, (classes, labels, mask, one_hot, other), strict=True):
            assert made.shape == extra.shape(len(images), side, side)
        bright = ((images + 1) * 127.5)[:, 0]
        for row, grey in enumerate(bright):
            number = round(float(grey.max()) / 20)
            assert int(classes[row]) == number % 5
            assert labels[row].tolist() == [number, 1]
            inside = mask[row, 0] == 1
            assert 0 < float(inside.float().mean()) < 1 or augmentation > 1
            if number:
                assert ((grey > 10 * number) == inside).float().mean() > 0.9
                difference = ((other[row, 0] - images[row, 0]) * 127.5)[inside].mean()
                assert 3 < float(difference) < 6
            assert (one_hot[row].sum(0) == 1).all()
            expected = torch.where(inside, number % 3, 0)
            assert (one_hot[row].argmax(0) == expected).float().mean() > 0.9


def test_the_list_of_a_run_counts_every_file(listed: Path) -> None:
    before = list_set("data", listed)
    assert len(before) == 1 + 4 * COUNT
    Image.new("L", (40, 40)).save(listed.parent / "mask1.png")
    found = changes(before, list_set("data", listed))
    assert found == "mask1.png has changed"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("input", "photo", "has no column input"),
        ("class_1", "kind", "has no column class_1 for the generator's class; it has input, kind"),
        ("photo3.png,3", "photo3.png,7", "line 5: class_1 must be 0 to 4, got 7"),
        ("photo3.png,3", "photo3.png,x", "line 5: class_1 is no number: 'x'"),
        ("photo3.png,3,3 1", "photo3.png,3,3", "line 5: label_2 needs 2 numbers, got 1"),
        ("photo3.png,3", "photo3.png,", "line 5: class_1 is empty"),
        ("photo3", "photo9", "line 5: there is no image"),
        ("mask3.png", "mask9.png", "line 5: there is no mask_3 mask9.png"),
    ],
)
def test_mistakes_are_named_with_their_line(listed: Path, old: str, new: str, text: str) -> None:
    listed.write_text(listed.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=text):
        open_training_data(CONTRACT, RUN, 32, listed, None)


def test_a_map_with_too_many_values_and_files_that_are_no_csv(listed: Path) -> None:
    Image.fromarray(np.full((40, 40), 9, np.uint8)).save(listed.parent / "map2.png")
    opened = open_training_data(CONTRACT, RUN, 32, listed, None)
    holder = next(
        data
        for data in (opened.inputs, opened.held)
        if listed.parent / "photo2.png" in data.paths  # pyright: ignore
    )
    with pytest.raises(UserError, match="has the value 9; a mask of 3 channels has 0 to 2"):
        batch(holder, 0)
    listed.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as CSV"):
        read_table(listed)
    with pytest.raises(UserError, match="cannot be read as CSV"):
        read_table(listed.with_name("absent.csv"))
