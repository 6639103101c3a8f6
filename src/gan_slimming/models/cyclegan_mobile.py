"""The CycleGAN generator with separable convolutions of GAN Compression (Li et al., CVPR 2020)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict
from gan_slimming.models.initialisation import initialise

_BLOCK = re.compile(r"model\.(\d+)\.conv_block\.1\.conv\.2\.weight")
_FIRST_BLOCK = 10


class SeparableConvolution(nn.Module):
    """A depthwise 3x3 convolution, a norm and a 1x1 convolution; two pixels smaller each way."""

    def __init__(self, incoming: int, outgoing: int, affine: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(incoming, incoming, 3, groups=incoming),
            nn.InstanceNorm2d(incoming, affine=affine),
            nn.Conv2d(incoming, outgoing, 1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, incoming, height, width) to (batch, outgoing, height - 2, width - 2)."""
        return self.conv(features)


class MobileResnetBlock(nn.Module):
    """A residual block x + conv_block(x) of two separable convolutions.

    There are `inner` channels between them. Upstream always has a dropout at position 4, of
    probability 0 in the published networks.
    """

    def __init__(self, channels: int, inner: int, affine: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            SeparableConvolution(channels, inner, affine),
            nn.InstanceNorm2d(inner, affine=affine),
            nn.ReLU(),
            nn.Identity(),
            nn.ReflectionPad2d(1),
            SeparableConvolution(inner, channels, affine),
            nn.InstanceNorm2d(channels, affine=affine),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        return features + self.conv_block(features)


class MobileResnetGenerator(nn.Module):
    """An image-to-image generator, both (batch, 3, height, width), RGB in [-1, 1].

    Height and width are multiples of 4, at least 8. The layout, and the positions in `model`, are
    those of the ResNet generator; only the blocks' convolutions are separable.

    Args:
        width: channels at full resolution; the blocks have 4 * width.
        blocks: number of residual blocks.
        affine: whether norms have a scale and a shift; the published networks have none.
        channels: all widths in the order of the layers, if not uniform: the three convolutions of
            the encoder, inside each block, the two transposed convolutions.
    """

    contract = InputContract(multiple_of=4, min_size=8)

    def __init__(
        self,
        width: int = 64,
        blocks: int = 9,
        affine: bool = False,
        channels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if width < 1 or blocks < 1:
            raise UserError(f"width and blocks must be at least 1, got {width} and {blocks}")
        widths = list(channels or uniform(width, blocks))
        if len(widths) != blocks + 5 or min(widths) < 1 or widths[0] != width:
            raise UserError(
                f"channels must be {blocks + 5} numbers for {blocks} blocks, each at least 1, "
                f"the first the width {width}, got {widths}"
            )
        first, second, trunk, *inner = widths

        def norm_relu(size: int) -> list[nn.Module]:
            return [nn.InstanceNorm2d(size, affine=affine), nn.ReLU()]

        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, first, 7)]
        layers += norm_relu(first)
        for wide, narrow in ((second, first), (trunk, second)):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), *norm_relu(wide)]
        layers += [MobileResnetBlock(trunk, size, affine) for size in inner[:blocks]]
        half, full = inner[blocks:]
        for wide, narrow in ((trunk, half), (half, full)):
            layers.append(nn.ConvTranspose2d(wide, narrow, 3, 2, padding=1, output_padding=1))
            layers += norm_relu(narrow)
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(full, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, height, width) in [-1, 1] to the same."""
        return self.model(images)


def uniform(width: int, blocks: int) -> list[int]:
    """Return `channels` of a network with one width per resolution."""
    return [width, 2 * width, *[4 * width] * (blocks + 1), 2 * width, width]


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer blocks, affine norms and every width from a state dict; {} if one is unreadable."""
    places = sorted(int(match[1]) for name in state if (match := _BLOCK.fullmatch(name)))
    blocks = len(places)
    if not blocks or places != list(range(_FIRST_BLOCK, _FIRST_BLOCK + blocks)):
        return {}
    end = _FIRST_BLOCK + blocks
    names = [f"model.{place}.weight" for place in (1, 4, 7)]
    names += [f"model.{place}.conv_block.1.conv.2.weight" for place in places]
    names += [f"model.{end}.weight", f"model.{end + 3}.weight"]
    tensors = [state.get(name) for name in names]
    if any(tensor is None or tensor.ndim != 4 for tensor in tensors):
        return {}
    axes = [0] * (blocks + 3) + [1, 1]  # a transposed convolution's outputs are on axis 1
    widths = [int(t.shape[axis]) for t, axis in zip(tensors, axes, strict=True) if t is not None]
    arguments = {"width": widths[0], "blocks": blocks, "affine": "model.2.weight" in state}
    if widths != uniform(widths[0], blocks):
        arguments["channels"] = widths
    return arguments


ENTRIES = {
    "cyclegan-mobile": Entry(
        "CycleGAN with separable convolutions (Li et al. 2020), any width in every block",
        MobileResnetGenerator,
        infer_arguments,
    ),
}
