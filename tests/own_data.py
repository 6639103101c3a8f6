"""A user's own datasets, as the tests name them: own_data:photos and so on."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming import ExtraInput, InputContract


class Photos:
    """Smooth images in [0, 255], BGR, as own_nets:double takes them."""

    count = 6

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        coarse = torch.rand(1, 3, 4, 4) * 255
        return nn.functional.interpolate(coarse, (32, 32), mode="bilinear")[0]


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


def photos() -> Photos:
    return Changed() if os.environ.get("OWN_DATA") == "changed" else Photos()


def latents() -> Latents:
    return Latents()


def filled() -> nn.Module:
    torch.manual_seed(7)
    return Filled()
