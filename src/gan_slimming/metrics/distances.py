"""Distances between an image and its counterpart: PSNR, SSIM, MS-SSIM and L1, one per image.

Images are (batch, 3, height, width), RGB in [-1, 1]; PSNR and L1 take waveforms (batch, channels,
length) in [-1, 1] as well. PSNR and both SSIMs are computed in [0, 1],
as in the literature; SSIM depends on the value of black.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from gan_slimming.errors import UserError

SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window in pixels (sigma 1.5)."""
MS_SSIM_SIDE = 16 * SSIM_WINDOW
"""Smallest side in pixels for MS-SSIM: its window must fit after four halvings."""


def l1(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean absolute difference (batch,) of RGB values in [-1, 1]; 2 at most."""
    return (first - second).abs().mean(dim=tuple(range(1, first.dim())))


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio (batch,) in dB over all RGB values; inf when equal."""
    dims = tuple(range(1, first.dim()))
    ratio = peak_signal_noise_ratio(
        _unit_range(first), _unit_range(second), data_range=1.0, dim=dims, reduction="none"
    )
    return ratio.reshape(-1)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the structural similarity (batch,) of Wang et al. 2004, over RGB and positions.

    It has an 11x11 Gaussian window of sigma 1.5, K1 = 0.01 and K2 = 0.03, for each colour channel,
    without borders. Raises UserError for images smaller than the window.
    """
    _check_side("SSIM", first, SSIM_WINDOW)
    found = structural_similarity_index_measure(
        _unit_range(first),
        _unit_range(second),
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    edge = SSIM_WINDOW // 2  # torchmetrics' own mean counts windows over a reflected border, too
    return found[1][..., edge:-edge, edge:-edge].mean(dim=(1, 2, 3))


def ms_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the multi-scale structural similarity (batch,) of Wang et al. 2003, five scales.

    Window and constants are those of `ssim`; factors below zero count as zero. Its coarsest scale
    also counts windows over a reflected border, as torchmetrics does. Raises UserError for
    images with a side below MS_SSIM_SIDE pixels.
    """
    _check_side("MS-SSIM", first, MS_SSIM_SIDE)
    similarity = multiscale_structural_similarity_index_measure(
        _unit_range(first),
        _unit_range(second),
        data_range=1.0,
        reduction="none",
        normalize="relu",
    )
    return similarity.reshape(-1)


def _check_side(name: str, images: Tensor, least: int) -> None:
    if min(images.shape[-2:]) < least:
        raise UserError(
            f"{name} needs images of at least {least}x{least} pixels, "
            f"got {images.shape[-2]}x{images.shape[-1]}; give larger ones, or --metrics without it"
        )


def _unit_range(images: Tensor) -> Tensor:
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    return (wide + 1) / 2
