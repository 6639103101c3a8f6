"""A distance in words: the damage of equal size is found, and ends are told as ends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_slimming.metrics.catalogue import pairwise
from gan_slimming.metrics.verdict import PERCENTS, saved_as_jpeg, scaled_and_back, verdict

PSNR = pairwise("psnr", torch.device("cpu"))


@pytest.fixture
def images() -> list[Tensor]:
    return [torch.rand(3, 48, 48) * 2 - 1 for _ in range(2)]


@pytest.mark.parametrize("percent", [50, 20])
def test_the_damage_itself_is_named(images: list[Tensor], percent: int) -> None:
    damaged = torch.stack([scaled_and_back(image, percent) for image in images])
    value = float(PSNR(damaged, torch.stack(images)).mean())
    expected = f"as near to the teacher as the teacher's own images scaled down to {percent} % and "
    assert verdict("psnr", value, images, PSNR).startswith(expected)


def test_ends(images: list[Tensor]) -> None:
    assert verdict("psnr", 100.0, images, PSNR) == "equal to the teacher on every image"
    best = verdict("psnr", 99.0, images, PSNR)
    assert best.startswith("at least as near to the teacher as")
    assert f"to {PERCENTS[0]} %" in best
    assert verdict("psnr", 1.0, images, PSNR).startswith("further from the teacher than")


def test_lpips_is_held_against_jpeg(images: list[Tensor]) -> None:
    def distance(made: Tensor, given: Tensor) -> Tensor:
        return (made - given).square().mean(dim=(1, 2, 3))

    value = float(
        torch.stack([distance(saved_as_jpeg(i, 30)[None], i[None]) for i in images]).mean()
    )
    assert verdict("lpips", value, images, distance).endswith("saved as JPEG of quality 30")


def test_waveforms_are_held_against_a_lower_sampling_rate() -> None:
    waveforms = [torch.randn(1, 800) * 0.1 for _ in range(2)]
    measure = pairwise("spectral", torch.device("cpu"))
    assert verdict("spectral", 0.0, waveforms, measure) == "equal to the teacher on every input"
    for metric in ("spectral", "psnr"):
        damaged = [scaled_and_back(w[:, None], 25)[:, 0] for w in waveforms]
        of = pairwise(metric, torch.device("cpu"))
        pairs = zip(damaged, waveforms, strict=True)
        value = sum(float(of(d[None], w[None])) for d, w in pairs) / 2
        told = verdict(metric, value, waveforms, of)
        assert (
            told == "as near to the teacher as the teacher's own waveforms at 25 % of their "
            "sampling rate"
        )
