"""Images inside a page: as URLs that hold the file itself, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, features
from torch import Tensor

BUDGET_BYTES = 2_400_000
"""All images of a page together, so that the page stays far under 5 MB (base64 adds a third)."""
MOST_BYTES = 3_300_000
"""Beyond this the page would reach 5 MB."""
AMPLIFIED = 4
"""Differences are shown so many times as large."""


@dataclass(frozen=True)
class Coding:
    """One way to write an image."""

    name: str
    """What the page says about it."""
    kind: str
    """Pillow's name of the format."""
    options: dict[str, object]
    """What Pillow is told."""


LOSSLESS = (
    Coding("lossless WebP", "WEBP", {"lossless": True, "quality": 60, "method": 4})
    if features.check("webp")
    else Coding("PNG", "PNG", {"optimize": True})
)
CODINGS = (
    LOSSLESS,
    Coding("JPEG of quality 95, colours at full resolution", "JPEG",
           {"quality": 95, "subsampling": 0}),
    Coding("JPEG of quality 90, colours at full resolution", "JPEG",
           {"quality": 90, "subsampling": 0}),
)  # fmt: skip
"""From the best: the first one that keeps to the budget is taken.

JPEG's tables are not optimised: Pillow's buffer is then too small for images full of noise.
"""


def pixels_of(image: Tensor) -> np.ndarray:
    """Return (height, width, 3) uint8 of an image (3, height, width) RGB in [-1, 1]."""
    scaled = ((image.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.permute(1, 2, 0).numpy().astype(np.uint8)


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return |first - second| per colour, AMPLIFIED and cut off at 255; black where equal."""
    apart = np.abs(first.astype(np.int16) - second.astype(np.int16)) * AMPLIFIED
    return apart.clip(0, 255).astype(np.uint8)


def encode(
    groups: Sequence[Sequence[np.ndarray]], budget: int = BUDGET_BYTES
) -> tuple[list[list[str]], str]:
    """Encode images that are shown or left out in groups.

    Args:
        groups: each some (height, width, 3) uint8 arrays; the most important group first.
        budget: bytes of all files together.
    Returns:
        URLs of as many groups as the budget allows, and the name of the coding. A single group may
        take up to MOST_BYTES.
    """
    for coding in CODINGS:
        files = _within(groups, coding, budget)
        if len(files) == len(groups):
            return [[_url(file, coding) for file in group] for group in files], coding.name
    files = files or _within(groups[:1], coding, max(budget, MOST_BYTES))
    return [[_url(file, coding) for file in group] for group in files], coding.name


def _within(
    groups: Sequence[Sequence[np.ndarray]], coding: Coding, budget: int
) -> list[list[bytes]]:
    """The files of as many groups as the budget allows, from the first."""
    files, total = [], 0
    for group in groups:
        made = [_file(image, coding) for image in group]
        total += sum(len(file) for file in made)
        if total > budget:
            break
        files.append(made)
    return files


def data_uri(image: Tensor) -> str:
    """Return an image (3, height, width) RGB in [-1, 1] as a lossless file inside a URL."""
    return _url(_file(pixels_of(image), LOSSLESS), LOSSLESS)


def _file(pixels: np.ndarray, coding: Coding) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, coding.kind, **coding.options)
    return buffer.getvalue()


def _url(file: bytes, coding: Coding) -> str:
    return f"data:image/{coding.kind.lower()};base64,{base64.b64encode(file).decode()}"
