"""The orientation of photos, as their EXIF data tell it."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes it upright."""


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return what makes an image upright; None if it is so, or its EXIF data are damaged."""
    try:
        return _TURNS.get(image.getexif().get(_TAG, 1))
    except Exception:
        # On damaged metadata Pillow raises nearly anything; the pixels are still sound.
        return None


def turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """Return a turned image, its information kept."""
    if turn is None:
        return image
    made = image.transpose(turn)
    made.info = dict(image.info)
    return made


def turned_samples(
    samples: np.ndarray[Any, Any], turn: Image.Transpose | None
) -> np.ndarray[Any, Any]:
    """Return samples (height, width, bands), float32, turned."""
    if turn is None:
        return samples
    bands = [
        Image.fromarray(np.ascontiguousarray(samples[..., b])) for b in range(samples.shape[-1])
    ]
    return np.stack([np.asarray(band.transpose(turn)) for band in bands], axis=-1)
