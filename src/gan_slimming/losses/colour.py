"""A colour term: the hue and lightness of areas, which other terms leave to drift."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.perceptual.lab import lab, linear_rgb

AREA = 16
"""Height and width in pixels of the areas whose mean colours are compared."""
WHITE = 100.0
"""Lightness L* of white: the unit of the term."""
SMALLEST = 1e-3
"""Chroma difference, as a share of WHITE, below which the term is smooth: a tenth of a unit."""


def area_colour(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean colour difference of areas of 16x16 pixels, a scalar; white to black is 1.

    |dL*| + sqrt(da*^2 + db*^2), in units of 100, HyAB of Abasi et al. 2020 ('Distance metrics for
    very large color differences'): lightness and chroma apart. Means are of sRGB values, unlike
    those of light: dark pixels then count as much as bright ones. 0 for equal images.

    Args:
        student, teacher: (batch, 3, height, width) RGB in [-1, 1]; the teacher gets no gradient.
            A side below 16 pixels is one area.
    """
    difference = (_areas(student) - _areas(teacher.detach())) / WHITE
    lightness = difference[:, 0].abs()
    chroma = (difference[:, 1:].square().sum(dim=1) + SMALLEST**2).sqrt() - SMALLEST
    return (lightness + chroma).mean()


def _areas(images: Tensor) -> Tensor:
    """Return L*a*b* (batch, 3, rows, columns) of the areas' mean colours."""
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    side = [min(AREA, length) for length in images.shape[-2:]]
    return lab(linear_rgb(F.avg_pool2d(wide, side)))
