"""A CSV file that names images, and the further inputs of each.

Its columns are called as the inputs of an exported file: `input`, then `class_1`, `label_1` and so
on; where there is one of a kind, the kind alone will do. A class is a number; a label or a vector
is numbers separated by spaces; a mask or an image is a file, beside the CSV or by its whole path.
A mask of several channels is an image whose grey values are the numbers of the channels.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.config import ExtraInput
from gan_slimming.data.image_files import read_content
from gan_slimming.data.image_opening import open_image
from gan_slimming.data.square_images import SquareImages, read_square
from gan_slimming.errors import UserError, one_line

IMAGE = "input"
"""The column of the image."""


@dataclass(frozen=True)
class Table:
    """The rows of a CSV file, as texts."""

    path: Path
    rows: tuple[dict[str, str], ...]

    @property
    def images(self) -> list[Path]:
        """The image of each row."""
        return [self.file(row[IMAGE]) for row in self.rows]

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each line: its image's path without suffix; -2 and so on where it recurs."""
        found: list[str] = []
        counts: dict[str, int] = {}
        for row in self.rows:
            path = Path(row[IMAGE]).with_suffix("")
            inside = not path.is_absolute() and ".." not in path.parts
            name = path.as_posix() if inside else path.name
            counts[name] = number = counts.get(name, 0) + 1
            found.append(name if number == 1 else f"{name}-{number}")
        return tuple(found)

    def file(self, cell: str) -> Path:
        """Return the file that a cell names."""
        return self.path.parent / cell

    def files(self) -> list[Path]:
        """Return the CSV file, and every file that a cell names."""
        cells = dict.fromkeys(cell for row in self.rows for cell in row.values() if cell)
        return [self.path, *(f for f in map(self.file, cells) if f.is_file())]

    def column(self, name: str, kind: str) -> list[str]:
        """Return the cells of a column; raise UserError where there is none, or one is empty."""
        found = name if name in self.rows[0] else kind
        if found not in self.rows[0]:
            raise UserError(
                f"{self.path} has no column {name} for the generator's {kind}; it has "
                f"{', '.join(self.rows[0])}"
            )
        cells = [row[found] for row in self.rows]
        if "" in cells:
            raise UserError(f"{self.path}, line {cells.index('') + 2}: {found} is empty; fill it")
        return cells


def read_table(path: Path) -> Table:
    """Read a CSV file with one line of headings.

    Raises:
        UserError: it cannot be read, has no column `input`, or names an image that is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            found = [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({one_line(error)})") from error
    if not found or IMAGE not in found[0]:
        raise UserError(f"{path} has no column {IMAGE}; give it a first line such as input,class_1")
    table = Table(path, tuple(found))
    for number, image in enumerate(table.images):
        if not image.is_file():
            raise UserError(f"{path}, line {number + 2}: there is no image {image}")
    return table


Column = Callable[[Tensor, Tensor, int], Tensor]
"""(indices, augmentations, downscale) -> the inputs of one kind, the first axis the batch."""


def open_columns(
    table: Table, extras: Sequence[ExtraInput], size: int, places: Sequence[int], rows: Tensor
) -> tuple[Column, ...]:
    """Return a column for each further input.

    Args:
        size: height and width in pixels of the images.
        places: the line of each usable image of the whole file.
        rows: (count,) int64, for each image of the set its place among the usable ones.
    Raises:
        UserError: a column is missing, or a cell is no such value.
    """
    return tuple(
        _column(table, extra, f"{extra.kind}_{number}", size, places, rows)
        for number, extra in enumerate(extras, 1)
    )


def _column(
    table: Table, extra: ExtraInput, name: str, size: int, places: Sequence[int], rows: Tensor
) -> Column:
    cells = table.column(name, extra.kind)
    if extra.kind in ("mask", "image"):
        check_files(table, name, cells)
        return _Files([table.file(cells[place]) for place in places], rows, size, extra)
    values = [value_of(table, extra, name, number, cell) for number, cell in enumerate(cells)]
    whole = torch.tensor([values[place] for place in places])
    return lambda indices, augmentations, downscale: whole[rows[indices]]


def check_files(table: Table, name: str, cells: Sequence[str]) -> None:
    """Raise UserError for a cell that names no file."""
    for number, cell in enumerate(cells):
        if not table.file(cell).is_file():
            raise UserError(f"{table.path}, line {number + 2}: there is no {name} {cell}")


def value_of(table: Table, extra: ExtraInput, name: str, number: int, cell: str) -> Any:
    """Return the class, or the list of numbers, of one cell; `number` is its line's, from 0."""
    where = f"{table.path}, line {number + 2}: {name}"
    try:
        if extra.kind != "class":
            numbers = [float(part) for part in cell.replace(";", " ").split()]
            if len(numbers) == extra.size:
                return numbers
            raise UserError(f"{where} needs {extra.size} numbers, got {len(numbers)}")
        if 0 <= int(cell) < extra.size:
            return int(cell)
        raise UserError(f"{where} must be 0 to {extra.size - 1}, got {cell}")
    except ValueError:
        raise UserError(f"{where} is no number: {cell!r}") from None


class _Files(SquareImages):
    """Masks or reference images, mirrored and cropped as the images that they belong to."""

    def __init__(self, paths: Sequence[Path], rows: Tensor, size: int, extra: ExtraInput) -> None:
        self.whole, self.rows, self.size, self.extra = paths, rows, size, extra
        self.paths = tuple(paths[row] for row in rows.tolist())
        self._kept: dict[Path, Tensor] = {}

    def squares(self, indices: Tensor) -> Tensor:
        """Return (batch, channels, size, size) uint8; a mask's channels are 0 or 255."""
        return torch.stack([self._square(self.paths[index]) for index in indices.tolist()])

    def expect(self, coming: Callable[[int], Tensor]) -> None:
        """Do nothing: files are read when they are drawn first."""

    def __call__(self, indices: Tensor, augmentations: Tensor, downscale: int) -> Tensor:
        """Return a batch: images in [-1, 1], or masks of zeros and ones."""
        found = self.images(indices, augmentations, downscale)
        if self.extra.kind == "image":
            return found
        if self.extra.size == 1:
            return (found > 0).float()
        return F.one_hot(found.argmax(1), self.extra.size).permute(0, 3, 1, 2).float()

    def _square(self, path: Path) -> Tensor:
        if path not in self._kept:
            is_image, sides = self.extra.kind == "image", (self.size, self.size)
            self._kept[path] = (
                read_square(path, self.size)[0]
                if is_image
                else mask_values(path, self.extra.size, sides, square=True)
            )
        kept = self._kept[path]
        if self.extra.kind == "image":
            return kept
        return mask_of(kept, self.extra.size).to(torch.uint8) * 255


def mask_values(path: Path, channels: int, sides: tuple[int, int], *, square: bool) -> Tensor:
    """Return a mask (height, width) uint8: grey values, or the numbers of channels, never mixed.

    Args:
        sides: height and width in pixels of the result.
        square: whether to take the central square alone.
    Raises:
        UserError: it cannot be read, or has the number of a channel that is not there.
    """
    try:
        with open_image(BytesIO(read_content(path))) as image:
            image.load()
    except Exception as error:  # Pillow raises many types
        raise UserError(f"{path} is no mask that can be read ({one_line(error)})") from error
    image = image if image.mode in ("L", "P") else image.convert("L")
    width, height = (min(image.size),) * 2 if square else image.size
    left, top = (image.size[0] - width) / 2, (image.size[1] - height) / 2
    box = (left, top, left + width, top + height)
    resized = image.resize((sides[1], sides[0]), Image.Resampling.NEAREST, box=box)
    values = torch.from_numpy(np.array(resized))
    if channels > 1 and int(values.max()) >= channels:
        raise UserError(
            f"{path} has the value {int(values.max())}; a mask of {channels} channels has 0 to "
            f"{channels - 1}"
        )
    return values


def mask_of(values: Tensor, channels: int) -> Tensor:
    """Return a mask (channels, height, width) of zeros and ones from `mask_values`."""
    if channels == 1:
        return (values > 127).float()[None]
    return F.one_hot(values.long(), channels).permute(2, 0, 1).float()
