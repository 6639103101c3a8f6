"""Figures of sets: fewest images, notes, and what each kind gives."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from gan_slimming.metrics.distributions import kid
from gan_slimming.metrics.embedded_set import EmbeddedSet, compare_sets, least_images


def embedded(features: torch.Tensor, scores: torch.Tensor | None = None) -> EmbeddedSet:
    found = EmbeddedSet(features.shape[1], 0 if scores is None else scores.shape[1])
    for at in range(0, len(features), 50):
        part = features[at : at + 50]
        found.update(part, part[:, :0] if scores is None else scores[at : at + 50])
    return found


def test_fewest_images_follow_from_the_dimensions() -> None:
    assert least_images("frechet", 2048) == (512, 2048)
    assert least_images("frechet", 512) == (128, 512)
    assert least_images("kid", 2048)[0] < 100


def test_a_frechet_distance_of_few_images_is_mostly_bias() -> None:
    """Why it is refused under a quarter of the dimensions: both sets have one distribution."""
    real = embedded(torch.randn(4000, 64))
    biases = [
        compare_sets("frechet", embedded(torch.randn(count, 64)), real).value
        for count in (16, 64, 256, 1024)
    ]
    assert biases[0] > 0.4 * 64  # of the 128 that two sets have between them at most
    assert all(a > 2 * b for a, b in pairwise(biases))


def test_every_kind_has_a_value_inside_its_interval() -> None:
    real, made = torch.randn(300, 8), torch.randn(280, 8) * 1.2 + 0.3
    a, b = embedded(made, torch.randn(280, 5)), embedded(real, torch.randn(300, 5))
    for kind in ("frechet", "kid", "precision", "recall", "inception_score"):
        found = compare_sets(kind, a, b)
        assert found.low <= found.value <= found.high
        assert found.images == 280
        assert (found.spread is not None) == (kind in ("kid", "inception_score"))
    assert compare_sets("kid", a, b).value == pytest.approx(kid(made, real).mean)
    assert compare_sets("kid", a, b).note == "mean over 100 subsets of 140 images"
    assert compare_sets("inception_score", a, None).note == "mean over 10 splits of 28 images"
    same = compare_sets("frechet", b, b)
    assert same.value == pytest.approx(0, abs=1e-9)
