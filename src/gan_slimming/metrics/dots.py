"""The dot measure: lattices of dots that a student adds on areas where its teacher is smooth.

Layers that double an image's size leave patterns with a period of 2 pixels, two of them 4 pixels.
Quality metrics hardly respond to these, but they are visible in skies and on walls.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.errors import UserError

PERIOD = 4
"""Period in pixels; patterns of period 2 have period 4 as well."""
BLOCKS = (32, 16)
"""Sides in pixels of the square parts; the smaller one is for small images."""
SMOOTH_SHARE = 0.25
"""Share of judged parts: those with the least detail in the teacher's image."""
LEVELS = 127.5
"""8-bit levels in one unit of [-1, 1]."""


def dots(first: Tensor, second: Tensor) -> Tensor:
    """Return the root mean square (batch,), in 8-bit levels, of added lattices of dots.

    Each image is cut into square parts. The lattice of a part is its mean cell of 4x4 pixels, less
    the local mean: all detail of periods 2 and 4. Its energy is the mean square over RGB. The
    measure takes the excess over the reference's energy, at least 0, on the quarter of the parts
    in which the reference is smoothest. Equal images give 0, as do brightness shifts and plain
    gradients; a lattice of amplitude a on a flat area gives a.

    Args:
        first: images under test, (batch, 3, height, width), RGB in [-1, 1].
        second: their references, likewise.
    Raises:
        UserError: a side is below 16 pixels.
    """
    block = next((side for side in BLOCKS if side <= min(first.shape[-2:])), None)
    if block is None:
        raise UserError(
            f"the dot measure needs images of at least {BLOCKS[-1]}x{BLOCKS[-1]} pixels, "
            f"got {first.shape[-2]}x{first.shape[-1]}; give larger ones, or --metrics without it"
        )
    detail_first, detail_second = (_parts(_detail(images), block) for images in (first, second))
    excess = (_lattice_energy(detail_first) - _lattice_energy(detail_second)).clamp_min(0)
    roughness = detail_second.square().mean(dim=(2, 3, 4))
    count = max(1, round(SMOOTH_SHARE * roughness.shape[1]))
    smoothest = roughness.argsort(dim=1, stable=True)[:, :count]
    return excess.gather(1, smoothest).mean(dim=1).sqrt()


def _detail(images: Tensor) -> Tensor:
    """Return images less their local mean, in 8-bit levels.

    The weights 1, 2, 2, 2, 1 of the mean have zeros at periods 2 and 4. So these periods remain
    whole, and gradients vanish.
    """
    values = images.double() * LEVELS
    weights = values.new_tensor([1, 2, 2, 2, 1]) / 8
    channels = values.shape[1]
    kernel = (weights[:, None] * weights).expand(channels, 1, 5, 5)
    padded = _extended(_extended(values, 2), 3)
    return values - F.conv2d(padded, kernel, groups=channels)


def _extended(values: Tensor, dim: int) -> Tensor:
    """Return values with two more pixels at either end, extrapolated from one and two periods in.

    This continues gradients and lattices, which a reflection would break.
    """
    length = values.shape[dim]
    before = 2 * values.narrow(dim, PERIOD - 2, 2) - values.narrow(dim, 2 * PERIOD - 2, 2)
    near, far = (values.narrow(dim, length - k * PERIOD, 2) for k in (1, 2))
    return torch.cat([before, values, 2 * near - far], dim)


def _parts(values: Tensor, block: int) -> Tensor:
    """Cut (batch, 3, height, width) into (batch, parts, 3, block, block); drop the remainder."""
    batch, channels, height, width = values.shape
    rows, columns = height // block, width // block
    cut = values[..., : rows * block, : columns * block]
    grid = cut.reshape(batch, channels, rows, block, columns, block)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels, block, block)


def _lattice_energy(parts: Tensor) -> Tensor:
    """Return the mean square (batch, parts) of the mean cell of 4x4 pixels, less its own mean."""
    batch, count, channels, block, _ = parts.shape
    cells = block // PERIOD
    grid = parts.reshape(batch, count, channels, cells, PERIOD, cells, PERIOD)
    cell = grid.mean(dim=(3, 5))
    cell = cell - cell.mean(dim=(3, 4), keepdim=True)
    return torch.mean(cell.square(), dim=(2, 3, 4))
