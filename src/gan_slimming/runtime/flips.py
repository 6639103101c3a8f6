"""How far rounding alone may move an image: codes flip where two ways of computing disagree."""

from __future__ import annotations

import numpy as np

FLIPS = 0.05
"""Mean difference over the spread of an image that rounding alone may always make."""
NOISE, MORE = 1e-4, 1.5
"""A change of the input so small beside its range, and how many times the difference that it makes
int8 kernels may make. A network that amplifies flips of codes does so wherever they come from."""


def only_flips(made: np.ndarray, expected: np.ndarray, moved: np.ndarray) -> bool:
    """Return whether rounding can have made the difference between two ways of computing.

    Args:
        made, expected: images in both ways.
        moved: as expected, of an input that was changed by NOISE of its range.
    """
    flips = max(FLIPS * expected.std(), MORE * np.abs(moved - expected).mean())
    return bool(np.abs(made - expected).mean() <= flips)


def nudged(values: np.ndarray) -> np.ndarray:
    """Return values that are changed by NOISE of their range, the same way every time."""
    noise = np.random.default_rng(1).standard_normal(values.shape, np.float32)
    return values + np.float32(NOISE * np.ptp(values)) * noise
