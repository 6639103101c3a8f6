"""Images inside a page, as data URLs within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, features
from torch import Tensor

BUDGET_BYTES = 2_400_000
"""Bytes of all images of a page: it stays far below 5 MB, although base64 adds a third."""
MOST_BYTES = 3_300_000
"""Bytes of images beyond which a page would reach 5 MB."""
AMPLIFIED = 4
"""Factor that amplifies differences."""


@dataclass(frozen=True)
class Coding:
    """An encoding of images."""

    name: str
    """Name on the page."""
    kind: str
    """Pillow's name for the format."""
    options: dict[str, object]
    """Pillow's options for saving."""


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
"""Encodings from the best down: the first within the budget is taken.

JPEG's tables are not optimised, because Pillow's buffer would be too small for noisy images.
"""


def pixels_of(image: Tensor) -> np.ndarray:
    """Return (height, width, 3) uint8 of an image (3, height, width) RGB in [-1, 1]."""
    scaled = ((image.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round()
    return scaled.permute(1, 2, 0).numpy().astype(np.uint8)


def difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return AMPLIFIED * |first - second| per colour, at most 255; black where equal."""
    apart = np.abs(first.astype(np.int16) - second.astype(np.int16)) * AMPLIFIED
    return apart.clip(0, 255).astype(np.uint8)


def encode(
    groups: Sequence[Sequence[np.ndarray]], budget: int = BUDGET_BYTES
) -> tuple[list[list[str]], str]:
    """Encode groups of images; a group is shown or left out as a whole.

    Args:
        groups: lists of (height, width, 3) uint8 arrays, the most important group first.
        budget: bytes of all files together.
    Returns:
        URLs of as many groups as the budget allows, and the name of the encoding. If not even one
        group fits, the first may take up to MOST_BYTES.
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
    """Return the files of as many groups as the budget allows, from the first."""
    files, total = [], 0
    for group in groups:
        made = [_file(image, coding) for image in group]
        total += sum(len(file) for file in made)
        if total > budget:
            break
        files.append(made)
    return files


def _file(pixels: np.ndarray, coding: Coding) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, coding.kind, **coding.options)
    return buffer.getvalue()


def _url(file: bytes, coding: Coding) -> str:
    return f"data:image/{coding.kind.lower()};base64,{base64.b64encode(file).decode()}"
