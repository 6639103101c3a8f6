"""The verdict: a distance to the teacher as one sentence, by a familiar damage of equal size.

The teacher's own images are damaged step by step and compared with the originals, until they are
as far away as the student's images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.metrics.catalogue import METRICS, MOST_PSNR, Pairwise

QUALITIES = (95, 90, 80, 70, 60, 50, 40, 30, 20, 15, 10, 5, 1)
"""Qualities of JPEG, mildest first."""
PERCENTS = (90, 75, 60, 50, 40, 30, 25, 20, 15, 10, 7, 5, 3)
"""Percentages of the width to which images are scaled down, mildest first."""


@dataclass(frozen=True)
class Yardstick:
    """A kind of damage in steps of strength."""

    steps: tuple[int, ...]
    """Strengths, mildest first."""
    damage: Callable[[Tensor, int], Tensor]
    """Function from an image (3, height, width) in [-1, 1] and a step to the damaged image."""
    text: str
    """Text of a step, with {} for its strength."""


def verdict(metric: str, value: float, images: Sequence[Tensor], measure: Pairwise) -> str:
    """Return 'as near to the teacher as ...' for the mean of a metric over images.

    Args:
        metric: lpips is compared with JPEG, any other metric with lower resolution, or
            of waveforms with a lower sampling rate.
        value: the student's mean distance to its teacher.
        images: at least one image of the teacher, (3, height, width) each in [-1, 1], or waveform
            (channels, length).
        measure: the metric's function.
    """
    stick = JPEG if metric == "lpips" else SCALING
    if images[0].dim() == 2:
        stick = RESAMPLING
    lower = METRICS[metric].direction == "lower"
    if value == (0 if lower else MOST_PSNR):
        return f"equal to the teacher on every {'input' if stick is RESAMPLING else 'image'}"
    reached = None
    for step in stick.steps:
        found = _mean(images, stick, step, measure)
        if found >= value if lower else found <= value:
            reached = step
            break
    sentence = stick.text.format(stick.steps[-1] if reached is None else reached)
    if reached is None:
        return f"further from the teacher than {sentence}"
    if reached == stick.steps[0]:
        return f"at least as near to the teacher as {sentence}"
    return f"as near to the teacher as {sentence}"


def _mean(images: Sequence[Tensor], stick: Yardstick, step: int, measure: Pairwise) -> float:
    values = [
        float(measure(stick.damage(image, step)[None].to(image.device), image[None]).mean())
        for image in images
    ]
    return sum(values) / len(values)


def saved_as_jpeg(image: Tensor, quality: int) -> Tensor:
    """Return an image (3, height, width) in [-1, 1] after JPEG with chroma at half size."""
    pixels = ((image.float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(
        buffer, "JPEG", quality=quality, subsampling=2
    )
    with Image.open(buffer) as kept:
        return torch.from_numpy(np.array(kept)).permute(2, 0, 1).float() / 127.5 - 1


def scaled_and_back(image: Tensor, percent: int) -> Tensor:
    """Return an image (3, height, width) scaled down to `percent` and up again (bilinear)."""
    size = [max(1, round(length * percent / 100)) for length in image.shape[-2:]]
    small = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)
    return F.interpolate(small, image.shape[-2:], mode="bilinear")[0]


JPEG = Yardstick(QUALITIES, saved_as_jpeg, "the teacher's own images saved as JPEG of quality {}")
SCALING = Yardstick(
    PERCENTS, scaled_and_back, "the teacher's own images scaled down to {} % and up again"
)
RESAMPLING = Yardstick(
    PERCENTS,
    lambda waveform, percent: scaled_and_back(waveform[:, None], percent)[:, 0],
    "the teacher's own waveforms at {} % of their sampling rate",
)
