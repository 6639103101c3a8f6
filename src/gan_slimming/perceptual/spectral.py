"""The spectral distance of waveforms, and their pictures; no network is needed.

Yamamoto et al., Parallel WaveGAN, ICASSP 2020, eq. 4 to 6, with its three resolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor

RESOLUTIONS = ((1024, 600, 120), (2048, 1200, 240), (512, 240, 50))
"""(FFT size, window, hop) in samples."""
SMALLEST_POWER = 1e-7
"""Least power of a bin, which keeps logarithms and gradients finite."""
DECIBELS = 80.0
"""Range of a picture, from black up to its loudest bin."""
PICTURE = (512, 512, 128)
"""Resolution of a picture."""


def spectral_distance(made: Tensor, given: Tensor) -> Tensor:
    """Return the multi-resolution STFT distance (batch,) of waveforms; 0 where they are equal.

    Mean over the resolutions of || |S| - |T| || / || |T| || (spectral convergence) and the mean of
    | log|S| - log|T| |. Of short waveforms all resolutions are halved until they fit. Computed in
    float32 or wider, also under autocast.

    Args:
        made: the student's waveforms, (batch, channels, length).
        given: the teacher's, the same shape; the spectral convergence is relative to them.
    """
    with torch.autocast(made.device.type, enabled=False):
        terms = []
        for resolution in fitting(made.shape[-1]):
            one, other = (magnitudes(x, resolution).flatten(1) for x in (made, given))
            convergence = (one - other).norm(dim=1) / other.norm(dim=1)
            terms.append(convergence + (one.log() - other.log()).abs().mean(dim=1))
        return torch.stack(terms).mean(dim=0)


def fitting(length: int) -> list[tuple[int, int, int]]:
    """Return the resolutions for waveforms of so many samples: padding needs half an FFT."""
    halvings = 0
    while max(size for size, _, _ in RESOLUTIONS) >> (halvings + 1) >= length and halvings < 7:
        halvings += 1
    return [(size >> halvings, window >> halvings, max(1, hop >> halvings))
            for size, window, hop in RESOLUTIONS]  # fmt: skip


def magnitudes(waveforms: Tensor, resolution: tuple[int, int, int]) -> Tensor:
    """Return the magnitudes (batch, channels, bins, frames) of waveforms, with a Hann window."""
    size, length, hop = resolution
    wide = waveforms.to(torch.promote_types(waveforms.dtype, torch.float32))
    window = torch.hann_window(length, dtype=wide.dtype, device=wide.device)
    bins = torch.stft(wide.flatten(0, -2), size, hop, length, window, return_complex=True)
    power = bins.real.square() + bins.imag.square()
    return power.clamp_min(SMALLEST_POWER).sqrt().unflatten(0, waveforms.shape[:-1])


def picture(waveforms: Tensor) -> Tensor:
    """Return spectrograms as grey images (batch, 3, bins, frames) in [-1, 1], low tones below."""
    size, window, hop = PICTURE
    while size // 2 >= waveforms.shape[-1] and size > 16:
        size, window, hop = size // 2, window // 2, hop // 2
    found = magnitudes(waveforms.mean(dim=1, keepdim=True), (size, window, hop))
    levels = 20 * found.log10()
    loudest = levels.amax(dim=(2, 3), keepdim=True)
    grey = ((levels - loudest) / DECIBELS + 1).clamp(0, 1) * 2 - 1
    return grey.flip(2).expand(-1, 3, -1, -1)
