"""SRResNet, the generator of SRGAN, x4 (Ledig et al., CVPR 2017, figure 4)."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict, known, size

_BLOCK = re.compile(r"block\d+\.conv1\.weight")


class ResidualBlock(nn.Module):
    """A residual block x + norm(conv(prelu(norm(conv(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        inner = self.prelu(self.bn1(self.conv1(features)))
        return features + self.bn2(self.conv2(inner))


class UpBlock(nn.Module):
    """A convolution to four times the channels, shuffled into twice the height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.pixel_shuffle = nn.PixelShuffle(2)
        self.prelu = nn.PReLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to (batch, channels, 2 height, 2 width)."""
        return self.prelu(self.pixel_shuffle(self.conv(features)))


class SrganGenerator(nn.Module):
    """A fourfold upscaling generator: (batch, 3, h, w) to (batch, 3, 4h, 4w), RGB in [0, 1].

    Names follow the usual PyTorch code. With n blocks, block1 is the first convolution, and block2
    to block(n+1) are residual. block(n+2) is the convolution after them, and block(n+3) enlarges.

    Args:
        width: channels of every layer.
        blocks: number of residual blocks; the paper has 16.
    """

    contract = InputContract(low=0.0, scale=4)

    def __init__(self, width: int = 64, blocks: int = 16) -> None:
        super().__init__()
        if width < 1 or blocks < 1:
            raise UserError(f"width and blocks must be at least 1, got {width} and {blocks}")
        self.block1 = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU())
        self.trunk = [f"block{place}" for place in range(2, blocks + 3)]
        for name in self.trunk[:-1]:
            self.add_module(name, ResidualBlock(width))
        behind = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
        self.add_module(self.trunk[-1], behind)
        self.head = f"block{blocks + 3}"
        enlarge = (UpBlock(width), UpBlock(width), nn.Conv2d(width, 3, 9, padding=4))
        self.add_module(self.head, nn.Sequential(*enlarge))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, h, w) in [0, 1] to (batch, 3, 4h, 4w) in [0, 1]."""
        features = first = self.block1(images)
        for name in self.trunk:
            features = self.get_submodule(name)(features)
        return (torch.tanh(self.get_submodule(self.head)(first + features)) + 1) / 2


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer width and number of blocks from a state dict, where possible."""
    blocks = sum(_BLOCK.fullmatch(name) is not None for name in state)
    return known(width=size(state, "block1.0.weight"), blocks=blocks or None)


ENTRIES = {
    "srgan": Entry(
        "SRGAN (Ledig et al. 2017), SRResNet, four times larger", SrganGenerator, infer_arguments
    ),
}
