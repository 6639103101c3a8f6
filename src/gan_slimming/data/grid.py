"""Several images as one."""

from __future__ import annotations

import math

from torch import Tensor

GAP = 2
"""Pixels of white between the images of a grid."""


def as_grid(images: Tensor) -> Tensor:
    """Arrange images (count, 3, h, w) in rows on white: (3, height, width), nearly square."""
    count, _, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = images.new_ones(3, rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)
    for i, image in enumerate(images):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        grid[:, top : top + height, left : left + width] = image
    return grid
