"""Intervals of means over images: the percentile bootstrap (Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RESAMPLES = 1000
"""Number of resampled sets of images."""
LEVEL = 0.95
"""Share of the resampled figures inside the interval."""


def bootstrap_interval(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Return the interval of a figure over other sets of equally many images.

    Images are resampled with replacement; the interval holds the middle `level` of the figures.

    Args:
        values: (images,) or (images, columns), one row for each image.
        statistic: function from column means (columns,) to the figure; None takes a single column.
        seed: of the resampling; equal seeds give equal intervals.
    Raises:
        ValueError: there is no image, or a value is not a number.
    """
    if not len(values) or np.isnan(values).any():
        raise ValueError(f"an interval needs numbers of at least one image, got {len(values)}")
    table = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    figure = statistic or (lambda means: float(means[0]))
    random = np.random.Generator(np.random.PCG64(seed % 2**64))
    count = len(table)
    figures = []
    for _ in range(resamples):
        weights = np.bincount(random.integers(count, size=count), minlength=count)
        figures.append(figure(weights @ table / count))
    tail = (1 - level) / 2
    low, high = np.quantile(figures, [tail, 1 - tail])
    return float(low), float(high)
