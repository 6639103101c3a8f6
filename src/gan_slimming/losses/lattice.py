"""A lattice term against dots: patterns of the upsampling grid that the teacher does not have."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PERIOD = 4
"""Period in pixels of what two layers of stride 2 can leave; period 2 is part of it."""
AREA = 16
"""Height and width in pixels of the areas over which a pattern counts; smaller ones are detail."""


def lattice_l1(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the L1 of the lattices of period 4 in the student's error, a scalar.

    The lattice of an area of 16x16 pixels is the error's mean cell of 4x4 pixels, less the cell's
    own mean, for pixels in [0, 1]. Colours, edges and detail that are off leave nearly none; 0 when
    student and teacher are equal. Rows and columns beyond the last whole area are left out.

    Args:
        student, teacher: (batch, 3, height, width) RGB in [-1, 1]; the teacher gets no gradient.
            A side below 16 pixels gives 0.
    """
    error = (student - teacher.detach()).to(torch.promote_types(student.dtype, torch.float32)) / 2
    height, width = (side - side % AREA for side in error.shape[-2:])
    if min(height, width) == 0:
        return error.sum() * 0
    phases = F.pixel_unshuffle(error[..., :height, :width], PERIOD)
    cells = F.avg_pool2d(phases, AREA // PERIOD).unflatten(1, (-1, PERIOD**2))
    return (cells - cells.mean(dim=2, keepdim=True)).abs().mean()
