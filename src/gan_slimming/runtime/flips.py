"""The change of an image that rounding alone explains: codes flip between two computations."""

from __future__ import annotations

import numpy as np

FLIPS = 0.05
"""Mean difference, over an image's standard deviation, that rounding alone is always allowed."""
NOISE, MORE = 1e-4, 1.5
"""Size of a small change of the input, over its range; and the allowed multiple of its effect.
A network that amplifies flips of codes does so wherever they come from."""


def only_flips(made: np.ndarray, expected: np.ndarray, moved: np.ndarray) -> bool:
    """Return whether rounding can explain the difference between two computations.

    Args:
        made, expected: the images of both.
        moved: as expected, for an input changed by NOISE of its range.
    """
    flips = max(FLIPS * expected.std(), MORE * np.abs(moved - expected).mean())
    return bool(np.abs(made - expected).mean() <= flips)


def nudged(values: np.ndarray) -> np.ndarray:
    """Return values changed by NOISE of their range, the same way every time."""
    noise = np.random.default_rng(1).standard_normal(values.shape, np.float32)
    return values + np.float32(NOISE * np.ptp(values)) * noise
