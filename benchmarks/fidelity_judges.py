"""How far a student's images are from its teacher's: what benchmarks/fidelity.py reports."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gan_slimming.data.inputs import enlarged
from gan_slimming.metrics.colour import colour_difference
from gan_slimming.metrics.distances import psnr
from gan_slimming.metrics.dots import dots
from gan_slimming.metrics.flip import flip, flip_installed
from gan_slimming.metrics.tracker import LPIPS_SIDE
from gan_slimming.perceptual.lpips import load_lpips

Measure = Callable[[Tensor, Tensor], Tensor]
"""Two batches (1, 3, height, width) RGB in [-1, 1] -> (1,)."""


@torch.no_grad()
def judge(images: Tensor, expected: Tensor) -> dict[str, float]:
    """Means over the images of each measure.

    Args:
        images: (count, 3, side, side) uint8, as they would be written to files.
        expected: the same shape, float32 in [-1, 1], the teacher's.
    """
    totals = {name: 0.0 for name in measures()}
    for made, wanted in zip(images.split(1), expected.split(1), strict=True):
        pair = made.float() / 127.5 - 1, wanted.clamp(-1, 1)
        for name, measure in measures().items():
            totals[name] += float(measure(*pair))
    return {name: total / len(images) for name, total in totals.items()}


_KNOWN: dict[str, Measure] = {}


def measures() -> dict[str, Measure]:
    """Name -> measure; networks are loaded once."""
    if not _KNOWN:
        lpips = load_lpips(download=False)
        _KNOWN["lpips"] = lambda a, b: lpips(enlarged(a, LPIPS_SIDE), enlarged(b, LPIPS_SIDE))
        _KNOWN["psnr"] = psnr
        _KNOWN["colour"] = colour_difference
        _KNOWN["dots"] = dots
        if flip_installed():
            _KNOWN["flip"] = flip
    return _KNOWN
