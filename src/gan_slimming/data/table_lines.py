"""Single lines of a table, at the size of each line's own image, as translate and evaluate read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_slimming.config import ExtraInput
from gan_slimming.data.image_files import decode_image, flatten, read_content
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.table import Table, check_files, mask_of, mask_values, value_of


@dataclass(frozen=True)
class Line:
    """A line of a table."""

    table: Table
    number: int
    """From 0."""

    @property
    def image(self) -> Path:
        """Return the file of its image."""
        return self.table.images[self.number]

    def others(
        self, extras: Sequence[ExtraInput], sides: tuple[int, int], *, square: bool = False
    ) -> Inputs:
        """Return the further inputs, without a batch axis.

        Args:
            extras: those of the generator's contract.
            sides: height and width in pixels of the image.
            square: whether the image is the central square of its file.
        Raises:
            ImageError: a reference image cannot be read.
            UserError: a column is missing, or a cell is no such value.
        """
        named = enumerate(extras, 1)
        return tuple(self._other(e, f"{e.kind}_{n}", sides, square) for n, e in named)

    def _other(self, extra: ExtraInput, name: str, sides: tuple[int, int], square: bool) -> Tensor:
        cell = self.table.column(name, extra.kind)[self.number]
        path = self.table.file(cell)
        if extra.kind == "mask":
            return mask_of(mask_values(path, extra.size, sides, square=square), extra.size)
        if extra.kind == "image":
            return _reference(path, sides, square)
        return torch.tensor(value_of(self.table, extra, name, self.number, cell))


def check_columns(table: Table, extras: Sequence[ExtraInput]) -> None:
    """Raise UserError where the columns of a table are no inputs of the generator."""
    for number, extra in enumerate(extras, 1):
        name = f"{extra.kind}_{number}"
        cells = table.column(name, extra.kind)
        if extra.kind in ("mask", "image"):
            check_files(table, name, cells)
            continue
        for place, cell in enumerate(cells):
            value_of(table, extra, name, place, cell)


def _reference(path: Path, sides: tuple[int, int], square: bool) -> Tensor:
    """Return an image (3, height, width) RGB in [-1, 1], resized to the sides (Lanczos)."""
    image = flatten(decode_image(path, read_content(path)))
    width, height = (min(image.size),) * 2 if square else image.size
    left, top = (image.size[0] - width) / 2, (image.size[1] - height) / 2
    box = (left, top, left + width, top + height)
    resized = image.resize((sides[1], sides[0]), Image.Resampling.LANCZOS, box=box)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).float() / 127.5 - 1
