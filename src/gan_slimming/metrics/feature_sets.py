"""What is kept of a set of images' features: mean, covariance and a sample, in bounded memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CAPACITY = 10_000
"""Features that are kept as they are, for metrics that compare images one with another."""


class FeatureStatistics:
    """Mean and covariance of features that come in batches, in float64.

    Batches are merged by the update of Chan, Golub and LeVeque 1979: no large sums are subtracted,
    and the result does not depend on the size of the batches beyond rounding.

    Args:
        dimensions: of a feature vector.
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
    """A uniform random sample of features, each whole (Vitter 1985, algorithm R).

    Up to `capacity` all are kept, in their order.

    Args:
        dimensions: of a feature vector.
        capacity: features that are kept.
        seed: of the draws.
    """

    def __init__(self, dimensions: int, capacity: int = CAPACITY, seed: int = 0) -> None:
        self.seen = 0
        self.capacity = capacity
        self._random = np.random.Generator(np.random.PCG64(seed % 2**64))
        self._rows = torch.empty(0, dimensions)

    def update(self, features: Tensor) -> None:
        """Offer features (batch, dimensions); kept as float32."""
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
        """Return what is kept, (kept, dimensions) float32."""
        return self._rows
