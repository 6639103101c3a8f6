"""A user's own datasets, and networks for them, as the tests name them: own_data:photos."""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import weight_norm

from gan_slimming import ExtraInput, InputContract


class Photos:
    """Smooth images in [0, 255], BGR, as own_nets:double takes them."""

    count = 6

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        coarse = torch.rand(1, 3, 4, 4) * 255
        return F.interpolate(coarse, (32, 32), mode="bilinear")[0]


class Changed(Photos):
    """The same, but for the brightness of all."""

    def __getitem__(self, index: int) -> Tensor:
        return super().__getitem__(index) / 2


class Latents(Photos):
    """Noise and a class for own_nets:noise."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.randn(6), index % 3


class Filled(nn.Module):
    """A network that fills holes, for one of three classes."""

    contract = InputContract(extras=(ExtraInput("class", 3), ExtraInput("mask")), multiple_of=4)

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(3, 8)
        self.first = nn.Conv2d(4, 8, 4, 4)
        self.last = nn.ConvTranspose2d(8, 3, 4, 4)

    def forward(self, image: Tensor, number: Tensor, mask: Tensor) -> Tensor:
        hidden = self.first(torch.cat([image * (1 - mask), mask], 1))
        return torch.tanh(self.last(torch.relu(hidden + self.embed(number)[..., None, None])))


class Tagged(nn.Module):
    """A network that draws from noise and two labels, as of hair and eyes."""

    def __init__(self) -> None:
        super().__init__()
        self.hair, self.eyes = nn.Linear(7, 4, bias=False), nn.Linear(7, 4, bias=False)
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(100 + 8, 8, 4), nn.BatchNorm2d(8), nn.ReLU(),
            nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.ConvTranspose2d(8, 3, 8, 4, 2), nn.Tanh(),
        )  # fmt: skip

    def forward(self, noise: Tensor, hair: Tensor, eyes: Tensor) -> Tensor:
        labels = torch.cat([self.hair(hair), self.eyes(eyes)], 1)
        return self.layers(torch.cat([noise, labels[..., None, None]], 1))


class Noisy(nn.Module):
    """A vocoder of a mel spectrogram and noise as long, as UnivNet is."""

    contract = InputContract(
        channels=5, scale=4, signal=True, extras=(ExtraInput("noise", 3),), sample_rate=8000
    )

    def __init__(self) -> None:
        super().__init__()
        self.mel, self.noise = nn.Conv1d(5, 8, 7, padding=3), nn.Conv1d(3, 8, 7, padding=3)
        self.up = nn.ConvTranspose1d(8, 8, 8, 4, 2)
        self.last = nn.Conv1d(8, 1, 7, padding=3)

    def forward(self, mel: Tensor, noise: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.mel(mel) + self.noise(noise), 0.1)
        return torch.tanh(self.last(F.leaky_relu(self.up(hidden), 0.1)))


def tagged() -> Tagged:
    torch.manual_seed(9)
    return Tagged()


def noisy() -> Noisy:
    torch.manual_seed(10)
    return Noisy()


def photos() -> Photos:
    return Changed() if os.environ.get("OWN_DATA") == "changed" else Photos()


def latents() -> Latents:
    return Latents()


def filled() -> nn.Module:
    torch.manual_seed(7)
    return Filled()


class Branch(nn.Module):
    """A dilated residual branch, in the manner of HiFi-GAN."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.one = normed(nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation))
        self.two = normed(nn.Conv1d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(F.leaky_relu(self.one(F.leaky_relu(x, 0.1)), 0.1))


class Vocoder(nn.Module):
    """Mel spectrograms (batch, 5, frames) to waveforms (batch, 1, 8 frames)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = normed(nn.Conv1d(5, 8, 7, padding=3))
        self.ups = nn.ModuleList(
            normed(nn.ConvTranspose1d(8 // k, 4 // k, 2 * r, r, r // 2))
            for k, r in ((1, 4), (2, 2))
        )
        self.branches = nn.ModuleList(
            nn.ModuleList(Branch(width, dilation) for dilation in (1, 3)) for width in (4, 2)
        )
        self.last = normed(nn.Conv1d(2, 1, 7, padding=3))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.first(mel)
        for up, branches in zip(self.ups, self.branches, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            x = torch.stack([branch(x) for branch in branches]).mean(0)  # pyright: ignore
        return torch.tanh(3 * self.last(F.leaky_relu(x, 0.1)))


class Mels:
    """Eight smooth spectrograms of 40 frames."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(5, 40).cumsum(1) / 3


def normed(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old weight norm, as published
        return weight_norm(layer)


def vocoder() -> nn.Module:
    torch.manual_seed(8)
    return Vocoder()


def mels() -> Mels:
    return Mels()
