"""The features of a set of images, gathered batch by batch in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_slimming.metrics.bootstrap import bootstrap_interval
from gan_slimming.metrics.distributions import (
    InceptionScore,
    Subsets,
    frechet_distance,
    frechet_interval,
    kid,
    kid_interval,
    precision_recall,
)
from gan_slimming.metrics.feature_sets import FeatureSample, FeatureStatistics

SHARE = 4
"""A Fréchet distance needs at least dimensions / SHARE images."""
LEAST = {"frechet": 0, "kid": 20, "precision": 20, "recall": 20, "inception_score": 100}
"""Smallest number of images of each metric; for 'frechet' it follows from the dimensions."""
ADVISED = {"frechet": 0, "kid": 100, "precision": 1000, "recall": 1000, "inception_score": 5000}
"""Number of images below which a warning is due."""

JACKKNIFE = "jackknife over 10 groups of images"


@dataclass(frozen=True)
class Figure:
    """A figure with its interval of 95 %."""

    value: float
    low: float
    high: float
    interval: str
    """Method of the interval."""
    images: int
    """Number of images that took part, of the set under test."""
    spread: float | None = None
    """Standard deviation over subsets or splits; None for other metrics."""
    note: str = ""
    """Numbers for the protocol."""


class EmbeddedSet:
    """The statistics, a sample and the class scores of a set of images.

    Args:
        dimensions: length of a feature vector.
        classes: number of class scores; 0 for none.
        seed: of the sample.
    """

    def __init__(self, dimensions: int, classes: int, seed: int = 0) -> None:
        self.statistics = FeatureStatistics(dimensions)
        self.sample = FeatureSample(dimensions, seed=seed)
        self.score = InceptionScore(classes) if classes else None

    def update(self, features: Tensor, scores: Tensor) -> None:
        """Add features (batch, dimensions) and class scores (batch, classes)."""
        self.statistics.update(features)
        self.sample.update(features)
        if self.score is not None:
            self.score.update(scores)

    @property
    def count(self) -> int:
        """Return the number of images added."""
        return self.statistics.count


def least_images(kind: str, dimensions: int) -> tuple[int, int]:
    """Return the numbers of images below which a metric is refused, and below which it warns.

    The covariance of n images has rank n - 1. With fewer images than dimensions a Fréchet distance
    is far too large, even for equal distributions. Below a quarter it is mostly this error.

    Args:
        kind: 'frechet', 'kid', 'precision', 'recall' or 'inception_score'.
        dimensions: length of a feature vector.
    """
    if kind == "frechet":
        return dimensions // SHARE, dimensions
    return LEAST[kind], ADVISED[kind]


def compare_sets(kind: str, made: EmbeddedSet, real: EmbeddedSet | None, seed: int = 0) -> Figure:
    """Return a metric of a set of images, compared with a real set if it needs one.

    Args:
        kind: as for least_images.
        made, real: features of the model's and of real images; None for the Inception Score.
        seed: of subsets and resampling.
    """
    if kind == "inception_score":
        assert made.score is not None
        parts = made.score.result()
        interval = bootstrap_interval(parts.values, seed=seed)
        return _of_parts(parts, made.count, "splits", "percentile bootstrap over splits", interval)
    assert real is not None
    if kind == "frechet":
        value = frechet_distance(made.statistics, real.statistics)
        kept = made.sample.features
        low, high = frechet_interval(kept, real.statistics, value, made.count)
        return Figure(value, low, high, JACKKNIFE, made.count)
    if kind == "kid":
        features = made.sample.features, real.sample.features
        parts = kid(*features, seed=seed)
        interval = kid_interval(*features, parts, made.count)
        return _of_parts(parts, made.count, "subsets", JACKKNIFE, interval)
    inside, covered = precision_recall(made.sample.features, real.sample.features)
    hits = (inside if kind == "precision" else covered).double()
    low, high = bootstrap_interval(hits.numpy(), seed=seed)
    used = f"{len(inside)} images, {len(covered)} real ones, 3 neighbours"
    value = float(torch.mean(hits))
    return Figure(value, low, high, "percentile bootstrap over images", len(inside), note=used)


def _of_parts(
    parts: Subsets, images: int, of: str, how: str, interval: tuple[float, float]
) -> Figure:
    note = f"mean over {len(parts.values)} {of} of {parts.size} images"
    return Figure(parts.mean, *interval, how, images, spread=parts.spread, note=note)
