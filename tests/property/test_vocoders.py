"""Generators of sound, mel in and waveform out: their channels are cut exactly, at any length."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from tests.property.test_extraction import EXACT, randomise
from torch import Tensor, nn
from torch.nn.utils import weight_norm

from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract

MELS = 6
"""Bands of a mel spectrogram."""


class Dilated(nn.Module):
    """A residual branch of two convolutions, the first of them dilated."""

    def __init__(self, width: int, kernel: int, dilation: int, reflect: bool) -> None:
        super().__init__()
        pad = dilation * (kernel - 1) // 2
        self.pad = nn.ReflectionPad1d(pad) if reflect else nn.ConstantPad1d(pad, 0.0)
        self.one = weight_norm(nn.Conv1d(width, width, kernel, dilation=dilation))
        self.two = weight_norm(nn.Conv1d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.leaky_relu(self.one(self.pad(F.leaky_relu(x, 0.1))), 0.1))


class Vocoder(nn.Module):
    """Upsampled by transposed convolutions; behind each, branches in a row or averaged."""

    def __init__(self, averaged: bool) -> None:
        super().__init__()
        self.first, self.averaged = weight_norm(nn.Conv1d(MELS, 12, 7, padding=3)), averaged
        self.ups, self.branches, width = nn.ModuleList(), nn.ModuleList(), 12
        for rate in (4, 2):
            up = nn.ConvTranspose1d(width, width // 2, 2 * rate, rate, padding=rate // 2)
            self.ups.append(weight_norm(up))
            width //= 2
            settings = [(3, 1), (5, 1)] if averaged else [(3, 1), (3, 3)]
            self.branches.append(nn.ModuleList(Dilated(width, *s, not averaged) for s in settings))
        self.last = weight_norm(nn.Conv1d(width, 1, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        """(batch, MELS, frames) -> (batch, 1, 8 frames)."""
        x = self.first(mel)
        for up, branches in zip(self.ups, self.branches, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            if self.averaged:
                x = torch.stack([branch(x) for branch in branches]).sum(0) / len(branches)  # pyright: ignore
            else:
                for branch in branches:  # pyright: ignore
                    x = branch(x)
        return torch.tanh(self.last(F.leaky_relu(x, 0.1)))


@pytest.mark.parametrize("averaged", [False, True])
def test_a_vocoder_is_cut_exactly_at_any_length(averaged: bool) -> None:
    random = torch.Generator().manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old weight norm, as published
        net = Vocoder(averaged).double().eval()
    mel = torch.rand(1, MELS, 8, generator=random, dtype=torch.float64)
    student = prepare(net, (mel,), bits=None)
    torch.testing.assert_close(student(mel), net(mel), rtol=0, atol=1e-12)
    free = sum(group.channels for group in student.graph.prunable)
    assert free >= 12 + 6 + 3
    for seed in range(3):
        randomise(student.module, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            for gate in student.gates:
                gate.copy_(torch.randn(len(gate), generator=random, dtype=gate.dtype))
                gate[torch.rand(len(gate), generator=random) < 0.4] = 0.0
        small = extract(student)
        for frames in (8, 13):
            sound = torch.rand(2, MELS, frames, generator=random, dtype=torch.float64)
            with torch.no_grad():
                expected = student(sound)
                assert expected.shape == (2, 1, 8 * frames)
                assert float((small(sound) - expected).abs().max()) < EXACT
