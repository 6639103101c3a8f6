"""Perceived colour difference: CIEDE2000, of pixels or of areas after a blur.

CIEDE2000 is the formula of CIE 142-2001 in the form of Sharma, Wu and Dalal 2005 (equations 2 to
22, all parametric factors 1). One unit is about the smallest visible difference.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gan_slimming.perceptual.lab import lab, linear_rgb

BLUR_SIGMA = 8.0
"""Standard deviation in pixels of the blur before colours are compared."""
STEP = 4
"""Pixels between the positions at which blurred colours are compared."""


def colour_difference(first: Tensor, second: Tensor, sigma: float = BLUR_SIGMA) -> Tensor:
    """Return the mean CIEDE2000 (batch,) of two blurred batches of images.

    The blur mixes light, so it acts on linear RGB. It hides texture and small shifts and leaves the
    colour of areas. That changes so slowly that every fourth pixel suffices.

    Args:
        first, second: (batch, 3, height, width), RGB in [-1, 1].
        sigma: standard deviation of the blur in pixels; 0 compares pixel by pixel.
    """
    step = STEP if sigma >= 2 * STEP else 1
    blurred = (gaussian_blur(linear_rgb(images), sigma, step) for images in (first, second))
    return ciede2000(*(lab(light.double()) for light in blurred)).mean(dim=(1, 2))


def gaussian_blur(images: Tensor, sigma: float, step: int = 1) -> Tensor:
    """Return images (batch, channels, height, width) after a Gaussian blur; borders are repeated.

    Args:
        images: of any range.
        sigma: standard deviation in pixels, cut off at 4 sigma; 0 changes nothing.
        step: stride in pixels; the others of the result are not computed.
    """
    if sigma <= 0:
        return images[..., ::step, ::step]
    rows, columns = (_blur_matrix(length, sigma, step).to(images) for length in images.shape[-2:])
    return rows @ images @ columns.T


def _blur_matrix(length: int, sigma: float, step: int) -> Tensor:
    """Return blur weights (places, length) of a line's pixels at every `step`-th of them."""
    radius = math.ceil(4 * sigma)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    weights = weights / weights.sum()
    places = torch.arange(0, length, step)
    sources = (places[:, None] + offsets).clamp(0, length - 1)
    matrix = torch.zeros(len(places), length, dtype=torch.float64)
    return matrix.scatter_add_(1, sources, weights.expand(len(places), -1))


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
    """Return the hue angle in [0, 2 pi); 0 for grey."""
    return torch.atan2(b, a) % (2 * math.pi)


def _saturation(chroma: Tensor) -> Tensor:
    power = chroma**7
    return (power / (power + 25.0**7)).sqrt()


def _short_way(angle: Tensor) -> Tensor:
    """Return an angle in (-2 pi, 2 pi) wrapped to [-pi, pi] (equation 10)."""
    angle = torch.where(angle > math.pi, angle - 2 * math.pi, angle)
    return torch.where(angle < -math.pi, angle + 2 * math.pi, angle)


def _mean_hue(h1: Tensor, h2: Tensor) -> Tensor:
    """Return the middle of the shorter arc (equation 14)."""
    total, far = h1 + h2, (h1 - h2).abs() > math.pi
    wrapped = torch.where(total < 2 * math.pi, total + 2 * math.pi, total - 2 * math.pi)
    return torch.where(far, wrapped, total) / 2


def _hue_weight(hue: Tensor) -> Tensor:
    """Return T of equation 15."""
    degree = math.pi / 180
    return (
        1
        - 0.17 * torch.cos(hue - 30 * degree)
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + 6 * degree)
        - 0.20 * torch.cos(4 * hue - 63 * degree)
    )


def _rotation(hue: Tensor, chroma: Tensor) -> Tensor:
    """Return R_T of equation 21, the rotation term for blue."""
    place = (hue * 180 / math.pi - 275) / 25
    angle = torch.exp(-(place**2)) * (30 * math.pi / 180)
    return -torch.sin(2 * angle) * 2 * _saturation(chroma)
