"""FLIP (Andersson et al. 2020): how much flipping between two images catches the eye.

The authors' own package computes it (flip-evaluator, the extra [flip]); no weights are needed, so
it is a judge that nothing was trained on.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from gan_slimming.config import UserError

PIXELS_PER_DEGREE = 67.02064514160156
"""Of visual angle: a 0.7 m wide display of 3840 pixels, seen from 0.7 m; the package's default."""


def flip_installed() -> bool:
    """Return whether the package is there."""
    return find_spec("flip_evaluator") is not None


def flip(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean of LDR-FLIP's error map (batch,), in [0, 1]; 0 for equal images.

    Args:
        first: images under test, (batch, 3, height, width), sRGB in [-1, 1].
        second: their references, likewise.
    Raises:
        UserError: flip-evaluator is not installed.
    """
    if not flip_installed():
        raise UserError("FLIP needs a package; pip install 'gan-slimming[flip]'")
    import flip_evaluator

    values = []
    for test, reference in zip(first, second, strict=True):
        arrays = [
            ((image.detach().float().cpu().clamp(-1, 1) + 1) / 2).permute(1, 2, 0).contiguous()
            for image in (reference, test)
        ]
        _, mean, _ = flip_evaluator.evaluate(
            arrays[0].numpy(),
            arrays[1].numpy(),
            "LDR",
            applyMagma=False,
            parameters={"ppd": PIXELS_PER_DEGREE},
        )
        values.append(float(mean))
    return torch.tensor(values)
