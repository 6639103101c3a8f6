"""Noise: each vector follows from its number alone, and no two streams share one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gan_slimming.data.latents import HELD, SAMPLE, TRAIN, LatentSet
from gan_slimming.errors import UserError

SET = LatentSet(50, 6, classes=4, seed=3)


def test_a_vector_depends_on_its_index_alone() -> None:
    together, labels = SET.batch(torch.tensor([7, 0, 49]))
    for place, index in enumerate((7, 0, 49)):
        alone, label = SET.batch(torch.tensor([index]), torch.tensor([1]), downscale=2)
        assert torch.equal(alone[0], together[place])
        assert label[0] == labels[place]
    larger = replace(SET, count=5000)
    assert torch.equal(larger.batch(torch.tensor([7]))[0][0], together[0])


def test_shapes_and_kinds() -> None:
    latents, labels = SET.batch(torch.arange(50))
    assert latents.shape == (50, 6)
    assert latents.dtype == torch.float32
    assert labels.shape == (50,)
    assert labels.dtype == torch.int64
    assert set(labels.tolist()) == {0, 1, 2, 3}
    assert len(replace(SET, classes=0).batch(torch.arange(2))) == 1
    assert len(SET) == 50
    assert SET.augmentations() == SET.augmentations(2, draws=10**6) == 1


def test_noise_is_standard_normal() -> None:
    latents = LatentSet(2000, 20).batch(torch.arange(2000))[0]
    assert abs(float(latents.mean())) < 0.02
    assert float(latents.std()) == pytest.approx(1.0, abs=0.02)
    assert len({tuple(row) for row in latents.tolist()}) == 2000


def test_streams_and_seeds_share_nothing() -> None:
    rows = [
        tuple(row)
        for seed in (0, 1, -1)
        for stream in (TRAIN, HELD, SAMPLE)
        for row in LatentSet(20, 6, seed=seed, stream=stream).batch(torch.arange(20))[0].tolist()
    ]
    assert len(set(rows)) == len(rows) == 180


def test_truncation_scales_the_same_noise() -> None:
    whole, labels = SET.batch(torch.arange(5))
    half, same = replace(SET, truncation=0.5).batch(torch.arange(5))
    assert torch.equal(half, whole * 0.5)
    assert torch.equal(labels, same)


def test_chosen_classes_are_taken_in_turn_with_the_same_noise() -> None:
    latents, labels = replace(SET, chosen=(3, 1)).batch(torch.tensor([0, 1, 2, 5]))
    assert labels.tolist() == [3, 1, 3, 1]
    assert torch.equal(latents, SET.batch(torch.tensor([0, 1, 2, 5]))[0])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"count": 0}, "must be at least 1, got 0"),
        ({"truncation": -1.0}, "truncation must be 0 or more, got -1"),
        ({"truncation": float("nan")}, "truncation must be 0 or more"),
        ({"chosen": (0, 4)}, "classes must be 0 to 3, got 4"),
        ({"classes": 0, "chosen": (0,)}, "the generator takes none"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], text: str) -> None:
    with pytest.raises(UserError, match=text):
        replace(SET, **change)  # pyright: ignore[reportArgumentType]
