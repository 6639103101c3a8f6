"""RRDBNet, the generator of ESRGAN, x4 (Wang et al., ECCV workshops 2018, section 3.1)."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict, known, numbered, size

RESIDUAL_SCALE = 0.2
_CONVOLUTIONS = 5

_SECOND = {"trunk_conv": "conv_body", "upconv1": "conv_up1", "upconv2": "conv_up2"}
_SECOND |= {"HRconv": "conv_hr"}
"""Names in the authors' own code -> ours, which are those of their later library."""
_FIRST = {"0": "conv_first", "3": "conv_up1", "6": "conv_up2", "8": "conv_hr", "10": "conv_last"}
"""Positions in `model` of their first release -> our names."""


class DenseBlock(nn.Module):
    """A dense block x + 0.2 * branch(x): five convolutions, each of x and all earlier outputs."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        for place in range(_CONVOLUTIONS):
            outgoing = growth if place < _CONVOLUTIONS - 1 else channels
            layer = nn.Conv2d(channels + place * growth, outgoing, 3, padding=1)
            self.add_module(f"conv{place + 1}", layer)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        found = [features]
        for place in range(1, _CONVOLUTIONS):
            layer = self.get_submodule(f"conv{place}")
            found.append(self.lrelu(layer(torch.cat(found, 1))))
        branch = self.get_submodule(f"conv{_CONVOLUTIONS}")(torch.cat(found, 1))
        return features + RESIDUAL_SCALE * branch


class ResidualInResidual(nn.Module):
    """A residual block x + 0.2 * branch(x), whose branch is three dense blocks."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        return features + RESIDUAL_SCALE * self.rdb3(self.rdb2(self.rdb1(features)))


class EsrganGenerator(nn.Module):
    """A fourfold upscaling generator: (batch, 3, h, w) to (batch, 3, 4h, 4w), RGB in [0, 1].

    The output is not bounded; values outside [0, 1] are clipped when an image is written.

    Args:
        width: channels of the trunk.
        blocks: number of residual-in-residual blocks.
        growth: channels that each convolution of a dense block adds.
    """

    contract = InputContract(low=0.0, scale=4)

    def __init__(self, width: int = 64, blocks: int = 23, growth: int = 32) -> None:
        super().__init__()
        if min(width, blocks, growth) < 1:
            raise UserError(
                f"width, blocks and growth must be at least 1, got {width}, {blocks} and {growth}"
            )
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualInResidual(width, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.conv_up1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)
        self.lrelu = nn.LeakyReLU(0.2)
        for module in self.body.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                module.weight.data.mul_(0.1)  # small residuals train better (section 3.1)
                nn.init.zeros_(module.get_parameter("bias"))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, h, w) in [0, 1] to (batch, 3, 4h, 4w), not clipped."""
        features = self.conv_first(images)
        features = features + self.conv_body(self.body(features))
        features = self.lrelu(self.conv_up1(self.up(features)))
        features = self.lrelu(self.conv_up2(self.up(features)))
        return self.conv_last(self.lrelu(self.conv_hr(features)))


def from_published(state: StateDict) -> StateDict:
    """Rename a state dict from any of the authors' three naming schemes to ours, the last one.

    model.1.sub.N.RDB1.conv1.0.weight and RRDB_trunk.N.RDB1.conv1.weight become
    body.N.rdb1.conv1.weight.
    """
    block = re.compile(r"(?:model\.1\.sub|RRDB_trunk)\.(\d+)\.RDB(\d)\.(conv\d)(?:\.0)?\.(\w+)")
    behind = re.compile(r"model\.1\.sub\.\d+\.(weight|bias)")
    single = re.compile(r"model\.(\d+)\.(weight|bias)")
    renamed: StateDict = {}
    for name, tensor in state.items():
        stem, _, field = name.rpartition(".")
        if match := block.fullmatch(name):
            name = f"body.{match[1]}.rdb{match[2]}.{match[3]}.{match[4]}"
        elif behind.fullmatch(name):
            name = f"conv_body.{field}"
        elif (match := single.fullmatch(name)) and match[1] in _FIRST:
            name = f"{_FIRST[match[1]]}.{field}"
        elif stem in _SECOND:
            name = f"{_SECOND[stem]}.{field}"
        renamed[name] = tensor
    return renamed


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer width, blocks and growth from a state dict with our names, where possible."""
    return known(
        width=size(state, "conv_first.weight"),
        blocks=numbered(state, "body") or None,
        growth=size(state, "body.0.rdb1.conv1.weight"),
    )


ENTRIES = {
    "esrgan": Entry(
        "ESRGAN (Wang et al. 2018), RRDBNet, four times larger",
        EsrganGenerator,
        infer_arguments,
        from_published,
    ),
}
