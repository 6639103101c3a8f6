"""Generators of sound, mel in and waveform out: their channels are cut exactly, at any length."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from tests.property.test_extraction import EXACT, randomise
from torch import Tensor, nn
from torch.nn.utils import weight_norm

from gan_slimming.config import InputContract
from gan_slimming.models.infer_contract import infer_contract
from gan_slimming.models.registry import GeneratorSpec, attach_spec
from gan_slimming.student.student import calibrate, prepare
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


def vocoder(averaged: bool) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return Vocoder(averaged).eval()


@pytest.mark.parametrize("averaged", [False, True])
def test_its_contract_is_found(averaged: bool) -> None:
    expected = InputContract(channels=MELS, scale=8, signal=True)
    assert infer_contract(vocoder(averaged)) == expected


CONVOLUTIONS = [
    nn.Conv1d(8, 8, 3, stride=2, padding=1), nn.Conv1d(8, 8, 5, dilation=3, padding=6, groups=2),
    nn.Conv1d(8, 8, 3, padding="same"), nn.ConvTranspose1d(8, 8, 6, 2, 2),
    nn.ConvTranspose1d(8, 8, 3, 2, 1, 1), nn.ConvTranspose1d(8, 8, 2, 2),
]  # fmt: skip


class Single(nn.Module):
    """One layer between two others."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.first, self.layer = nn.Conv1d(MELS, 8, 3, padding=1), layer
        self.last = nn.Conv1d(8, 1, 3, padding=1)

    def forward(self, mel: Tensor) -> Tensor:
        return torch.tanh(self.last(torch.relu(self.layer(torch.relu(self.first(mel))))))


def files() -> list[tuple[nn.Module, float]]:
    """Nets to export, each with the length of its waveform over that of its input."""
    scales = [0.5, 1, 1, 2, 2, 2]
    singles = [(Single(layer).eval(), s) for layer, s in zip(CONVOLUTIONS, scales, strict=True)]
    return [*[(vocoder(averaged), 8) for averaged in (False, True)], *singles]


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("form", ["qdq", "integer"])
def test_its_files_compute_in_integers_what_was_trained(place: int, form: str) -> None:
    for package in ("onnx", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    from gan_slimming.export import parity
    from gan_slimming.export.convert import convert

    net, scale = files()[place]
    student = prepare(net, (torch.rand(1, MELS, 32),), bits=8)
    calibrate(student, [(torch.rand(2, MELS, 32),)])
    small = extract(student).eval()
    contract = InputContract(channels=MELS, multiple_of=2, scale=max(1, int(scale)), signal=True)
    attach_spec(small, GeneratorSpec("vocoder", {}, contract))
    made = convert(small, quantization=form)  # checks each layer against torch
    assert made.float_layers == []
    assert made.restricted == ""
    runtimes = ["onnxruntime"] if form == "integer" else ["onnxruntime", "openvino"]
    mels = [(torch.rand(1, MELS, frames),) for frames in (18, 46, 100)]  # none was traced
    found = parity.differences(small, made.content, mels, runtimes)
    assert max(found.values()) < 0.03  # a code here and there, rounded to its neighbour
