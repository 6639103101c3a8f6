"""Distances between sets: closed forms, torchmetrics, golden values of torch-fidelity."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.parity.make_torch_fidelity import feature_pair
from torch import Tensor
from torchmetrics.image.fid import _compute_fid

from gan_slimming.metrics.distributions import (
    InceptionScore,
    _kid_without_groups,  # pyright: ignore[reportPrivateUsage]
    frechet_distance,
    frechet_interval,
    kid,
    kid_interval,
    precision_recall,
)
from gan_slimming.metrics.feature_sets import FeatureSample, FeatureStatistics

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "parity" / "torch_fidelity.json").read_text()
)


def statistics(features: Tensor, batch: int = 1000) -> FeatureStatistics:
    found = FeatureStatistics(features.shape[1])
    for part in features.split(batch):
        found.update(part)
    return found


def gaussian(mean: Tensor, covariance: Tensor) -> FeatureStatistics:
    found = FeatureStatistics(len(mean))
    found.count, found.mean, found.scatter = 101, mean.double(), covariance.double() * 100
    return found


def test_the_distance_of_gaussians_in_closed_form() -> None:
    """Axes in common: |m1 - m2|^2 + sum (s1 - s2)^2."""
    turn = torch.linalg.qr(torch.randn(24, 24, dtype=torch.float64)).Q
    first, second = torch.rand(2, 24, dtype=torch.float64) * 3
    first[:4] = second[2:6] = 0  # without full rank, too
    shift = torch.randn(24, dtype=torch.float64)
    a = gaussian(torch.zeros(24), turn @ torch.diag(first**2) @ turn.T)
    b = gaussian(shift, turn @ torch.diag(second**2) @ turn.T)
    expected = float(shift.square().sum() + (first - second).square().sum())
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_two_dimensions_without_common_axes() -> None:
    """tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)) for 2 x 2."""
    a = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    b = torch.tensor([[1.0, -0.3], [-0.3, 3.0]], dtype=torch.float64)
    product = a @ b
    root = math.sqrt(float(product.trace()) + 2 * math.sqrt(float(torch.linalg.det(product))))
    expected = float(a.trace() + b.trace()) - 2 * root
    zero = torch.zeros(2)
    assert frechet_distance(gaussian(zero, a), gaussian(zero, b)) == pytest.approx(expected)


def test_agrees_with_torch_fidelity_and_torchmetrics() -> None:
    first, second = feature_pair()
    a, b = statistics(first), statistics(second)
    found = frechet_distance(a, b)
    assert found == pytest.approx(GOLDEN["frechet"]["frechet_inception_distance"], rel=1e-5)
    theirs = _compute_fid(a.mean, a.covariance, b.mean, b.covariance)
    assert found == pytest.approx(float(theirs), rel=1e-8)
    of_subsets = kid(first, second, subsets=20, size=100)
    golden = GOLDEN["kid"]
    assert of_subsets.mean == pytest.approx(golden["kernel_inception_distance_mean"], rel=1e-5)
    assert of_subsets.spread == pytest.approx(golden["kernel_inception_distance_std"], rel=1e-5)
    inside, covered = precision_recall(first, second)
    golden = GOLDEN["precision_recall"]
    assert inside.float().mean().item() == pytest.approx(golden["precision"])
    assert covered.float().mean().item() == pytest.approx(golden["recall"])


def test_inception_score_agrees_with_torch_fidelity() -> None:
    logits = feature_pair()[0][torch.tensor(GOLDEN["permutation"])]
    score = InceptionScore(classes=16)
    parts = [i * 10 // 300 for i in range(300)]
    for place in range(0, 300, 70):
        score.update(logits[place : place + 70], parts[place : place + 70])
    found, golden = score.result(), GOLDEN["inception_score"]
    assert found.mean == pytest.approx(golden["inception_score_mean"], rel=1e-5)
    assert found.spread == pytest.approx(golden["inception_score_std"], rel=1e-5)
    assert found.size == 30


def test_inception_score_between_1_and_the_classes() -> None:
    sure = InceptionScore(classes=5, splits=2)
    sure.update(torch.eye(5).repeat_interleave(2, 0) * 200)
    assert sure.result().values.tolist() == pytest.approx([5, 5])
    same = InceptionScore(classes=5)
    same.update(torch.ones(7, 5))
    assert same.result().values.tolist() == pytest.approx([1] * 7)


def test_statistics_do_not_depend_on_batches_nor_on_a_large_mean() -> None:
    features = torch.randn(500, 12, dtype=torch.float64) + 1e4
    whole = statistics(features)
    for batch in (1, 7, 64):
        parts = statistics(features, batch)
        torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(parts.covariance, whole.covariance, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(whole.covariance, np.cov(features.numpy().T), rtol=1e-9)
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        _ = statistics(features[:1]).covariance


def test_fewer_modes_lower_recall_and_not_precision() -> None:
    modes = torch.randn(6, 8) * 20
    real, made = (modes[torch.arange(240) % count] + torch.randn(240, 8) for count in (6, 2))
    inside, covered = precision_recall(made, real)
    assert inside.float().mean() > 0.8
    assert 0.2 < covered.float().mean() < 0.45
    assert kid(made, real).mean > kid(real + torch.randn(240, 8) * 0.01, real).mean
    with pytest.raises(ValueError, match="more than 3 images"):
        precision_recall(made[:3], real)


def test_kid_needs_two_images_in_a_subset() -> None:
    with pytest.raises(ValueError, match="subsets of 1 of 3 images"):
        kid(torch.rand(3, 4), torch.rand(9, 4))
    assert kid(torch.rand(30, 4), torch.rand(90, 4)).size == 15


def test_the_interval_of_a_frechet_distance_holds_its_scatter() -> None:
    """Of 30 sets drawn from one distribution, most lie inside the interval of any of them."""
    real = statistics(torch.randn(4000, 6))
    figures, widths = [], []
    for _ in range(30):
        made = torch.randn(400, 6) * 1.2 + 0.3
        value = frechet_distance(statistics(made), real)
        low, high = frechet_interval(made, real, value, 400)
        assert low < value < high
        figures.append(value)
        widths.append((high - low) / 2 / 1.96)
    assert np.mean(widths) == pytest.approx(np.std(figures), rel=0.4)
    low, high = frechet_interval(made, real, value, 1600)
    assert (high - low) / 2 / 1.96 == pytest.approx(widths[-1] / 2)


def test_the_interval_of_a_kernel_distance_holds_its_scatter() -> None:
    """Not that of its subsets' mean alone, which is many times too narrow."""
    real = torch.randn(1000, 16) + 1

    def measured(seed: int, images: int = 200) -> tuple[float, float, float]:
        torch.manual_seed(seed)
        made = torch.randn(200, 16) * 1.2 + 1.3
        found = kid(made, real, seed=seed)
        return found.mean, *kid_interval(made, real, found, images)

    found = np.array([measured(seed) for seed in range(30)])
    assert ((found[:, 1] < found[:, 0]) & (found[:, 0] < found[:, 2])).all()
    widths = (found[:, 2] - found[:, 1]) / 2 / 1.96
    assert widths.mean() == pytest.approx(found[:, 0].std(), rel=0.4)
    _, low, high = measured(0, 20_000)  # only a part of the images was kept
    assert high - low < (found[0, 2] - found[0, 1]) / 4


def unbiased(made: Tensor, real: Tensor) -> Tensor:
    """The kernel distance up to a term of the real images alone, from its definition."""
    same, other = (made @ made.T / 4 + 1) ** 3, (made @ real.T / 4 + 1) ** 3
    return same[~torch.eye(len(made), dtype=torch.bool)].mean() - 2 * other.mean()


def test_the_jackknife_leaves_out_each_group() -> None:
    made, real = torch.randn(23, 4).double(), torch.randn(31, 4).double()
    parts = [made[torch.arange(23) % 5 != group] for group in range(5)]
    figures = np.array(_kid_without_groups(made, real, 5))
    expected = np.array([float(unbiased(part, real)) for part in parts])
    np.testing.assert_allclose(figures - figures.mean(), expected - expected.mean(), atol=1e-9)


def test_a_sample_is_all_in_order_and_then_uniform() -> None:
    values = torch.arange(1000.0)[:, None]
    few = FeatureSample(1, capacity=2000)
    for batch in values.split(33):
        few.update(batch)
    assert torch.equal(few.features, values)
    means = []
    for seed in range(40):
        sample = FeatureSample(1, capacity=50, seed=seed)
        for batch in values.split(33):
            sample.update(batch)
        assert sample.features.shape == (50, 1)
        assert sample.seen == 1000
        assert len(sample.features.unique()) == 50
        means.append(sample.features.mean().item())
    assert np.mean(means) == pytest.approx(499.5, abs=25)
