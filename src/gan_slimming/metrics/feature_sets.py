"""The mean, covariance and a sample of a set's features, in bounded memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CAPACITY = 10_000
"""Number of features in a sample, for metrics that compare single images."""


class FeatureStatistics:
    """The mean and covariance of features, updated batch by batch in float64.

    Batches are merged by the update of Chan, Golub and LeVeque 1979. No large sums are subtracted,
    so the size of the batches changes the result by rounding only.

    Args:
        dimensions: length of a feature vector.
    """

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dimensions, dtype=torch.float64)
        self.scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        """Add features (batch, dimensions) of any floating-point type."""
        values = features.detach().cpu().double()
        added = len(values)
        if not added:
            return
        mean = values.mean(dim=0)
        centred = values - mean
        shift, total = mean - self.mean, self.count + added
        self.scatter += centred.T @ centred
        self.scatter.addr_(shift, shift, alpha=self.count * added / total)
        self.mean += shift * (added / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """Return the unbiased covariance (dimensions, dimensions).

        Raises:
            ValueError: there are fewer than two images.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 images, got {self.count}")
        return self.scatter / (self.count - 1)


class FeatureSample:
    """A uniform random sample of feature vectors (Vitter 1985, algorithm R).

    The first `capacity` vectors are all kept, in order.

    Args:
        dimensions: length of a feature vector.
        capacity: number of vectors to keep.
        seed: of the sampling.
    """

    def __init__(self, dimensions: int, capacity: int = CAPACITY, seed: int = 0) -> None:
        self.seen = 0
        self.capacity = capacity
        self._random = np.random.Generator(np.random.PCG64(seed % 2**64))
        self._rows = torch.empty(0, dimensions)

    def update(self, features: Tensor) -> None:
        """Offer features (batch, dimensions) to the sample, which holds float32."""
        values = features.detach().cpu().float()
        free = self.capacity - len(self._rows)
        if free > 0:
            self._rows = torch.cat([self._rows, values[:free]])
            self.seen += min(free, len(values))
            values = values[free:]
        for row in values:
            place = int(self._random.integers(self.seen + 1))
            self.seen += 1
            if place < self.capacity:
                self._rows[place] = row

    @property
    def features(self) -> Tensor:
        """Return the sample, (kept, dimensions) float32."""
        return self._rows
