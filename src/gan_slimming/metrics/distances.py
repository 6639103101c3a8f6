"""Distances between an image and its counterpart: PSNR and SSIM, one number per image.

Images are (batch, 3, height, width), RGB in [-1, 1]; both measures are taken in [0, 1], where the
literature takes them (SSIM depends on where black lies, so it must not be taken in [-1, 1]).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from gan_slimming.errors import UserError

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window in pixels (sigma 1.5)."""


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (batch,) in dB over all RGB values; infinite when equal."""
    ratio = peak_signal_noise_ratio(
        _unit_range(first), _unit_range(second), data_range=1.0, dim=(1, 2, 3), reduction="none"
    )
    return ratio.reshape(-1)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity (batch,) of Wang et al. 2004, mean over RGB and positions.

    11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, per colour channel, borders left out.
    Raises UserError for images smaller than the window.
    """
    if min(first.shape[-2:]) < SSIM_WINDOW:
        raise UserError(
            f"SSIM needs images of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, "
            f"got {first.shape[-2]}x{first.shape[-1]}; give larger ones"
        )
    similarity = structural_similarity_index_measure(
        _unit_range(first), _unit_range(second), data_range=1.0, reduction="none"
    )
    assert isinstance(similarity, Tensor)
    return similarity.reshape(-1)


def _unit_range(images: Tensor) -> Tensor:
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    return (wide + 1) / 2
