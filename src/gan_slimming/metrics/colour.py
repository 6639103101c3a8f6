"""Colour difference as eyes see it: CIEDE2000, also behind a blur that leaves only areas.

CIEDE2000 is the formula of CIE 142-2001 as Sharma, Wu and Dalal 2005 spell it out (equations 2 to
22, all parametric factors 1). One unit is about the least difference that can be seen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

BLUR_SIGMA = 8.0
"""Standard deviation in pixels of the blur before colours are compared."""
D65 = (0.95047, 1.0, 1.08883)
"""White of sRGB: X, Y, Z for the observer of 2 degrees."""
RGB_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB to XYZ, ITU-R BT.709 primaries."""


def colour_difference(first: Tensor, second: Tensor, sigma: float = BLUR_SIGMA) -> Tensor:
    """Return the mean CIEDE2000 (batch,) of two blurred batches of images.

    The blur mixes light, so it acts on linear RGB. It hides texture and small shifts; what remains
    is the colour of areas.

    Args:
        first, second: (batch, 3, height, width), RGB in [-1, 1].
        sigma: standard deviation of the blur in pixels; 0 compares pixel by pixel.
    """
    blurred = (gaussian_blur(linear_rgb(images), sigma) for images in (first, second))
    return ciede2000(*(lab(light) for light in blurred)).mean(dim=(1, 2))


def linear_rgb(images: Tensor) -> Tensor:
    """Return linear light in [0, 1] of sRGB images in [-1, 1] (IEC 61966-2-1), in float64."""
    values = ((images.double() + 1) / 2).clamp(0, 1)
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
    return torch.where(ratio > 216 / 24389, ratio.clamp_min(0) ** (1 / 3), small)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Return images (batch, channels, height, width) blurred, borders repeated; 4 sigma each way."""
    if sigma <= 0:
        return images
    radius = math.ceil(4 * sigma)
    places = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-(places**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    batch, channels, height, width = images.shape
    padded = F.pad(images, [radius] * 4, mode="replicate").flatten(0, 1)[:, None]
    rows = F.conv2d(padded, weights.view(1, 1, -1, 1))
    return F.conv2d(rows, weights.view(1, 1, 1, -1)).view(batch, channels, height, width)


def ciede2000(first: Tensor, second: Tensor) -> Tensor:
    """Return the CIEDE2000 difference (batch, ...) of colours (batch, 3, ...) in L*a*b*."""
    l1, a1, b1 = first.unbind(1)
    l2, a2, b2 = second.unbind(1)
    g = 0.5 * (1 - _saturation((_length(a1, b1) + _length(a2, b2)) / 2))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = _length(a1, b1), _length(a2, b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)
    grey = c1 * c2 == 0
    turn = _short_way(h2 - h1).masked_fill(grey, 0)
    hue_difference = 2 * (c1 * c2).sqrt() * torch.sin(turn / 2)
    mean_hue = torch.where(grey, h1 + h2, _mean_hue(h1, h2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    offset = (mean_l - 50) ** 2
    s_l = 1 + 0.015 * offset / (20 + offset).sqrt()
    s_c = 1 + 0.045 * mean_c
    s_h = 1 + 0.015 * mean_c * _hue_weight(mean_hue)
    parts = ((l2 - l1) / s_l, (c2 - c1) / s_c, hue_difference / s_h)
    rotation = _rotation(mean_hue, mean_c) * parts[1] * parts[2]
    return (parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2 + rotation).clamp_min(0).sqrt()


def _length(a: Tensor, b: Tensor) -> Tensor:
    return (a**2 + b**2).sqrt()


def _hue(a: Tensor, b: Tensor) -> Tensor:
    """Hue angle in [0, 2 pi); 0 for grey."""
    return torch.atan2(b, a) % (2 * math.pi)


def _saturation(chroma: Tensor) -> Tensor:
    power = chroma**7
    return (power / (power + 25.0**7)).sqrt()


def _short_way(angle: Tensor) -> Tensor:
    """An angle in (-2 pi, 2 pi) as the same turn in [-pi, pi] (equation 10)."""
    angle = torch.where(angle > math.pi, angle - 2 * math.pi, angle)
    return torch.where(angle < -math.pi, angle + 2 * math.pi, angle)


def _mean_hue(h1: Tensor, h2: Tensor) -> Tensor:
    """Equation 14: the middle of the shorter arc."""
    total, far = h1 + h2, (h1 - h2).abs() > math.pi
    wrapped = torch.where(total < 2 * math.pi, total + 2 * math.pi, total - 2 * math.pi)
    return torch.where(far, wrapped, total) / 2


def _hue_weight(hue: Tensor) -> Tensor:
    """T of equation 15."""
    degree = math.pi / 180
    return (
        1
        - 0.17 * torch.cos(hue - 30 * degree)
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + 6 * degree)
        - 0.20 * torch.cos(4 * hue - 63 * degree)
    )


def _rotation(hue: Tensor, chroma: Tensor) -> Tensor:
    """R_T of equation 21: blue's tilt."""
    place = (hue * 180 / math.pi - 275) / 25
    angle = torch.exp(-(place**2)) * (30 * math.pi / 180)
    return -torch.sin(2 * angle) * 2 * _saturation(chroma)
