"""A line of a table at its image's own size: as translate and evaluate read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_slimming.config import ExtraInput
from gan_slimming.data.table import read_table
from gan_slimming.data.table_lines import Line, check_columns
from gan_slimming.errors import UserError

EXTRAS = (
    ExtraInput("class", 5), ExtraInput("label", 2), ExtraInput("mask"), ExtraInput("mask", 3),
    ExtraInput("image"),
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One photo of 12x20 pixels, two lines of it; the left half of all files is marked."""
    half = np.zeros((12, 20), np.uint8)
    half[:, :10] = 1
    Image.fromarray(np.stack([half * 200] * 3, -1)).save(tmp_path / "photo.png")
    Image.fromarray(half * 255).save(tmp_path / "mask.png")
    Image.fromarray(half * 2).save(tmp_path / "map.png")
    Image.fromarray(np.stack([half * 100] * 3, -1)).resize((10, 6), 0).save(tmp_path / "o.png")
    cells = "photo.png,{},0.5 1,mask.png,map.png,o.png"
    lines = ["input,class,label,mask_3,mask_4,image", cells.format(4), cells.format(1)]
    found = tmp_path / "pairs.csv"
    found.write_text("\n".join(lines))
    return found


def test_further_inputs_have_the_images_own_size(path: Path) -> None:
    line = Line(read_table(path), 1)
    assert line.image.name == "photo.png"
    number, label, mask, ids, other = line.others(EXTRAS, (12, 20))
    assert (number.dtype, int(number)) == (torch.int64, 1)
    assert label.tolist() == [0.5, 1.0]
    assert mask.shape == (1, 12, 20)
    assert mask[0, 0].tolist() == [1.0] * 10 + [0.0] * 10
    assert ids.argmax(0)[5].tolist() == [2] * 10 + [0] * 10
    assert (ids.sum(0) == 1).all()
    assert other.shape == (3, 12, 20)
    assert other[0, 6, 2] == pytest.approx(100 / 127.5 - 1)


def test_they_are_squares_where_the_image_is_one(path: Path) -> None:
    mask, other = (
        Line(read_table(path), 0).others(EXTRAS, (6, 6), square=True)[place] for place in (2, 4)
    )
    assert mask[0, 3].tolist() == [1.0] * 3 + [0.0] * 3  # the central 12 of 20 columns
    assert other.shape == (3, 6, 6)


def test_lines_have_names_of_their_own(path: Path, tmp_path: Path) -> None:
    assert read_table(path).names == ("photo", "photo-2")
    (tmp_path / "in").mkdir()
    inner = tmp_path / "in" / "more.csv"
    whole = (tmp_path / "photo.png").as_posix()
    inner.write_text(f"input\n../photo.png\n{whole}")
    assert read_table(inner).names == ("photo", "photo-2")


def test_columns_are_checked_before_any_work(path: Path) -> None:
    check_columns(read_table(path), EXTRAS)
    with pytest.raises(UserError, match="has no column vector_1"):
        check_columns(read_table(path), (ExtraInput("vector", 2),))
    with pytest.raises(UserError, match="line 2: class_1 must be 0 to 2, got 4"):
        check_columns(read_table(path), (ExtraInput("class", 3),))
    path.write_text(path.read_text().replace("mask.png", "absent.png", 1))
    with pytest.raises(UserError, match="line 2: there is no mask_3 absent"):
        check_columns(read_table(path), EXTRAS)
