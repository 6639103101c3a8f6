"""The spectral distance agrees with its definition, and orders waveforms as ears do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_slimming.perceptual.spectral import (
    RESOLUTIONS,
    fitting,
    magnitudes,
    picture,
    spectral_distance,
)


def tone(frequency: float, length: int = 4096, loud: float = 0.5) -> Tensor:
    """A sine of so many periods per 1000 samples, (1, 1, length)."""
    return loud * torch.sin(2 * math.pi * frequency / 1000 * torch.arange(length))[None, None]


def slow_magnitudes(waveform: np.ndarray, size: int, window: int, hop: int) -> np.ndarray:
    """The definition, frame by frame: (bins, frames)."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    hann = np.pad(hann, ((size - window) // 2, size - window - (size - window) // 2))
    padded = np.pad(waveform, size // 2, mode="reflect")
    starts = range(0, len(padded) - size + 1, hop)
    frames = [np.fft.rfft(padded[start : start + size] * hann) for start in starts]
    return np.sqrt(np.maximum(np.abs(np.array(frames).T) ** 2, 1e-7))


def test_it_is_the_papers() -> None:
    made, given = (torch.rand(2, 1, 3000, dtype=torch.float64) - 0.5 for _ in range(2))
    expected = []
    for one, other in zip(made[:, 0].numpy(), given[:, 0].numpy(), strict=True):
        terms = []
        for resolution in RESOLUTIONS:
            s, t = (slow_magnitudes(x, *resolution) for x in (one, other))
            convergence = np.linalg.norm(s - t) / np.linalg.norm(t)
            terms.append(convergence + np.abs(np.log(s) - np.log(t)).mean())
        expected.append(np.mean(terms))
    found = spectral_distance(made, given)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_equal_waveforms_have_none_and_each_counts_for_itself() -> None:
    given = torch.rand(3, 2, 2000) - 0.5
    assert torch.equal(spectral_distance(given, given), torch.zeros(3))
    made = given + 0.1 * torch.randn(3, 2, 2000)
    alone = torch.cat([spectral_distance(made[i : i + 1], given[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(spectral_distance(made, given), alone)


def test_it_hears_what_differs_and_not_the_phase() -> None:
    given = tone(50)
    near, far = (given + x * torch.randn(given.shape) for x in (0.01, 0.1))
    assert spectral_distance(near, given) < spectral_distance(far, given)
    floor = 0.02 * torch.randn(given.shape)
    turned = 0.5 * torch.cos(2 * math.pi * 0.05 * torch.arange(4096)) + floor
    higher = spectral_distance(tone(60) + floor, given + floor)
    assert spectral_distance(turned, given + floor) < 0.5 * higher
    assert (turned - given).abs().mean() > 0.3  # though its samples are others


@pytest.mark.parametrize("length", [17, 100, 256, 1024, 1025, 5000])
def test_short_waveforms_take_shorter_windows(length: int) -> None:
    for size, window, hop in fitting(length):
        assert size // 2 < length
        assert hop <= window <= size
    assert (fitting(length) == list(RESOLUTIONS)) is (length > 1024)
    distance = spectral_distance(torch.rand(1, 1, length), torch.rand(1, 1, length))
    assert bool(distance.isfinite().all())


def test_gradients_are_finite_in_silence_and_under_autocast() -> None:
    made = torch.zeros(1, 1, 2000, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        distance = spectral_distance(made, tone(50, 2000)).mean()
    assert distance.dtype == torch.float32
    distance.backward()
    assert made.grad is not None
    assert bool(made.grad.isfinite().all())
    near = tone(50, 2000) + 0.01 * torch.randn(1, 1, 2000)
    near.requires_grad_(True)
    spectral_distance(near, tone(50, 2000)).mean().backward()
    assert near.grad is not None
    assert float(near.grad.abs().max()) > 0


def test_a_picture_has_low_tones_below() -> None:
    drawn = picture(torch.cat([tone(20), tone(400)]))
    assert drawn.shape[:3] == (2, 3, 257)
    assert float(drawn.min()) >= -1
    assert float(drawn.max()) == 1
    rows = drawn[:, 0].mean(dim=2).argmax(dim=1).tolist()
    assert rows[0] > 240
    assert rows[1] < 60
    assert picture(torch.rand(1, 1, 40)).shape[2] < 257


def test_magnitudes_keep_channels_apart() -> None:
    both = torch.cat([tone(50), tone(80)], dim=1)
    found = magnitudes(both, RESOLUTIONS[0])
    assert found.shape[:3] == (1, 2, 513)
    torch.testing.assert_close(found[:, 1:], magnitudes(tone(80), RESOLUTIONS[0]))
