"""Distances between two sets of images, by features of a network: Fréchet, KID, precision, recall.

All take features (images, dimensions). Their network decides the meaning and the name of a figure:
the Fréchet distance is an FID only on the 2015 Inception network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_slimming.metrics.feature_sets import FeatureStatistics

KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
"""Number of subsets and images in each, as in Binkowski et al. 2018 and torch-fidelity."""
NEIGHBOURS = 3
"""k of Kynkäänniemi et al. 2019: balls around images reach to their k-th neighbour."""
BLOCK = 1000
"""Rows of a distance matrix in memory at once."""
JACKKNIFE_GROUPS = 10
NORMAL_95 = 1.959964
"""Half width of a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Subsets:
    """A figure given by its values on parts of the images."""

    values: np.ndarray
    """Value of each part, (parts,) float64."""
    size: int
    """Number of images in a part."""

    @property
    def mean(self) -> float:
        """Return the mean over the parts."""
        return float(self.values.mean())

    @property
    def spread(self) -> float:
        """Return the standard deviation over the parts."""
        return float(self.values.std())


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), Dowson and Landau 1982, in float64.

    The trace is that of (C1^(1/2) C2 C1^(1/2))^(1/2), which has the same eigenvalues and is
    symmetric. So no complex numbers arise, even from covariances without full rank.
    """
    return _frechet(_root(second.covariance), second, first)


def frechet_interval(
    features: Tensor, reference: FeatureStatistics, value: float, images: int
) -> tuple[float, float]:
    """Return a 95 % interval of a Fréchet distance, by the jackknife over groups of images.

    A bootstrap would be biased: repeated images lower the rank of the covariance, so every
    resampled set lies further away than the set itself. Leaving out a tenth at a time shifts all
    figures alike, and only their scatter is used. The reference is taken as fixed.

    Args:
        features: (kept, dimensions) of the set under test.
        reference: statistics of the other set.
        value: the distance of the whole set.
        images: number of images in the whole set; it may exceed `kept`.
    """
    groups = min(JACKKNIFE_GROUPS, len(features))
    root = _root(reference.covariance)
    figures = []
    for group in range(groups):
        left = torch.arange(len(features)) % groups != group
        statistics = FeatureStatistics(features.shape[1])
        statistics.update(features[left])
        figures.append(_frechet(root, reference, statistics))
    scatter = float(np.var(figures)) * (groups - 1)
    error = NORMAL_95 * (scatter * len(features) / max(images, len(features))) ** 0.5
    return max(0.0, value - error), value + error


def _root(covariance: Tensor) -> Tensor:
    """Return the symmetric square root of a covariance matrix."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def _frechet(root: Tensor, of_root: FeatureStatistics, other: FeatureStatistics) -> float:
    shift = (of_root.mean - other.mean).square().sum()
    spectrum = torch.linalg.eigvalsh(root @ other.covariance @ root)
    traces = of_root.covariance.trace() + other.covariance.trace()
    distance = shift + traces - 2 * spectrum.clamp_min(0).sqrt().sum()
    return max(0.0, float(distance))  # rounding can make equal sets negative


def kid(made: Tensor, real: Tensor, *, seed: int = 0, subsets: int = KID_SUBSETS,
        size: int | None = None) -> Subsets:  # fmt: skip
    """Return the kernel distance of Binkowski et al. 2018 (KID on Inception's features).

    It is the unbiased squared maximum mean discrepancy with the kernel (x . y / dimensions + 1)^3,
    over random subsets of both sets. It may be below zero, because its expectation for equal
    distributions is zero at any number of images.

    Args:
        made, real: (images, dimensions) each.
        seed: of the subsets, drawn as in torch-fidelity.
        subsets: number of subsets.
        size: images in a subset; None for 1000, or half of the smaller set if that is less.
    Raises:
        ValueError: a subset would hold fewer than two images, or more than a set has.
    """
    from torchmetrics.image.kid import poly_mmd

    least = min(len(made), len(real))
    size = size or min(KID_SUBSET_SIZE, least // 2)
    if not 2 <= size <= least:
        raise ValueError(f"subsets of {size} of {least} images; at least 2 are needed")
    random = np.random.RandomState(seed % 2**32)
    values = []
    for _ in range(subsets):
        first, second = (
            features[torch.from_numpy(random.choice(len(features), size, replace=False))].double()
            for features in (made, real)
        )
        values.append(float(poly_mmd(first, second)))
    return Subsets(np.array(values), size)


def kid_interval(made: Tensor, real: Tensor, found: Subsets, images: int) -> tuple[float, float]:
    """Return a 95 % interval of a kernel distance, by the jackknife over groups of images.

    Subsets share images, so the scatter of their mean is too small; it serves only as the error
    of the draws. The reference counts as fixed.

    Args:
        made, real: (images, dimensions) each.
        found: the distance over subsets.
        images: in the set under test, if more than were kept.
    """
    figures = _kid_without_groups(made, real, min(JACKKNIFE_GROUPS, len(made) // 2))
    scatter = float(np.var(figures)) * (len(figures) - 1) * len(made) / max(images, len(made))
    draws = found.spread**2 / len(found.values)
    error = NORMAL_95 * (scatter + draws) ** 0.5
    return found.mean - error, found.mean + error


def _kid_without_groups(made: Tensor, real: Tensor, groups: int) -> list[float]:
    """Return the unbiased distance without each group of made images, less a common constant."""
    parts = [made[at::groups].double() for at in range(groups)]
    others = real.double()
    within = torch.zeros(groups, groups, dtype=torch.float64)
    for i in range(groups):
        for j in range(i + 1):
            within[i, j] = within[j, i] = _kernel(parts[i], parts[j]).sum()
        within[i, i] -= _kernel_with_itself(parts[i]).sum()
    across = torch.stack([_kernel(part, others).sum() for part in parts])
    figures = []
    for left in range(groups):
        count = len(made) - len(parts[left])
        inner = within.sum() - 2 * within[left].sum() + within[left, left]
        outer = across.sum() - across[left]
        figures.append(float(inner / (count * (count - 1)) - 2 * outer / (count * len(real))))
    return figures


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second.T / first.shape[1] + 1) ** 3


def _kernel_with_itself(features: Tensor) -> Tensor:
    return (features.square().mean(dim=1) + 1) ** 3


def precision_recall(made: Tensor, real: Tensor, k: int = NEIGHBOURS) -> tuple[Tensor, Tensor]:
    """Return which images lie within the other set's manifold (Kynkäänniemi et al. 2019).

    The manifold of a set is the union of balls around its features. The radius of a ball is the
    distance to the k-th neighbour in the set.

    Args:
        made, real: (images, dimensions), more than k images each.
    Returns:
        For each made image, whether it lies in the real manifold; the mean is the precision. For
        each real image, whether it lies in the made manifold; the mean is the recall.
    Raises:
        ValueError: there are too few images.
    """
    if min(len(made), len(real)) <= k:
        raise ValueError(f"more than {k} images of each set are needed")
    return _inside(made, real, _radii(real, k)), _inside(real, made, _radii(made, k))


def _radii(features: Tensor, k: int) -> Tensor:
    """Return the distance (images,) of each image to its k-th neighbour, itself excluded."""
    blocks = [torch.cdist(block, features) for block in features.split(BLOCK)]
    return torch.cat([block.kthvalue(k + 1, dim=1).values for block in blocks])


def _inside(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    return torch.cat(
        [(torch.cdist(block, centres) <= radii).any(dim=1) for block in points.split(BLOCK)]
    )


class InceptionScore:
    """The score exp(E[KL(p(class | image) || p(class))]) of Salimans et al. 2016, streamed.

    Args:
        classes: number of classes of the network.
        splits: number of parts for mean and spread.
    """

    def __init__(self, classes: int, splits: int = 10) -> None:
        self.counts = torch.zeros(splits, dtype=torch.float64)
        self.sums = torch.zeros(splits, classes, dtype=torch.float64)
        self.negative_entropies = torch.zeros(splits, dtype=torch.float64)

    def update(self, logits: Tensor, splits: Sequence[int] | None = None) -> None:
        """Add logits (images, classes); image i goes to part i modulo parts, or to `splits[i]`."""
        before = int(self.counts.sum())
        places = [(before + i) % len(self.counts) for i in range(len(logits))]
        index = torch.tensor(places if splits is None else list(splits), dtype=torch.int64)
        log_p = logits.detach().cpu().double().log_softmax(dim=1)
        p = log_p.exp()
        self.counts.index_add_(0, index, torch.ones(len(index), dtype=torch.float64))
        self.sums.index_add_(0, index, p)
        self.negative_entropies.index_add_(0, index, (p * log_p).sum(dim=1))

    def result(self) -> Subsets:
        """Return the score of each part that has images."""
        used = self.counts > 0
        counts = self.counts[used]
        means = self.sums[used] / counts[:, None]
        cross = torch.special.xlogy(means, means).sum(dim=1)
        scores = (self.negative_entropies[used] / counts - cross).exp()
        return Subsets(scores.numpy(), int(counts.min()))
