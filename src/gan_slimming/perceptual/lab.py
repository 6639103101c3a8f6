"""CIE L*a*b*, in which equal distances look about equally large, from sRGB images."""

from __future__ import annotations

import torch
from torch import Tensor

D65 = (0.95047, 1.0, 1.08883)
"""White point of sRGB: X, Y, Z for the 2-degree observer."""
RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB to XYZ, ITU-R BT.709 primaries."""
BEND = 216 / 24389
"""Share of white below which L*a*b* is linear."""


def linear_rgb(images: Tensor) -> Tensor:
    """Return linear light in [0, 1] of sRGB images in [-1, 1] (IEC 61966-2-1)."""
    values = ((images.to(torch.promote_types(images.dtype, torch.float32)) + 1) / 2).clamp(0, 1)
    curve = ((values + 0.055) / 1.055) ** 2.4
    return torch.where(values <= 0.04045, values / 12.92, curve)


def lab(light: Tensor) -> Tensor:
    """Return CIE L*a*b* (batch, 3, height, width) of linear RGB in [0, 1], white D65."""
    matrix = light.new_tensor(RGB_TO_XYZ) / light.new_tensor(D65)[:, None]
    x, y, z = torch.einsum("dc,bchw->bdhw", matrix, light).unbind(1)
    fx, fy, fz = (_lab_curve(value) for value in (x, y, z))
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], dim=1)


def _lab_curve(ratio: Tensor) -> Tensor:
    small = ratio * (24389 / 27 / 116) + 16 / 116
    # Not clamped at 0, where the root's slope is infinite and black would have no gradient.
    return torch.where(ratio > BEND, ratio.clamp_min(BEND) ** (1 / 3), small)
