"""The generator of CartoonGAN (Chen, Lai, Liu, CVPR 2018), in the form of its released weights."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry

CONTRACT = InputContract(colour_order="BGR", multiple_of=4, min_size=8)

_FIRST_BLOCK = 4
"""Number of the first residual block in the released weights, which number all layers."""
_RELEASED_BLOCKS = 8
_BLOCK_KEY = re.compile(r"(conv|in)(\d\d)_([12])\.(.+)")


def _norm(channels: int) -> nn.InstanceNorm2d:
    """Return an instance normalisation with the biased variance and the released epsilon, 1e-9."""
    return nn.InstanceNorm2d(channels, eps=1e-9, affine=True, track_running_stats=False)


class ResidualBlock(nn.Module):
    """A residual block x + branch(x): (pad, conv, norm, relu, pad, conv, norm)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            OrderedDict[str, nn.Module](
                pad_1=nn.ReflectionPad2d(1),
                conv_1=nn.Conv2d(channels, channels, 3),
                in_1=_norm(channels),
                relu=nn.ReLU(),
                pad_2=nn.ReflectionPad2d(1),
                conv_2=nn.Conv2d(channels, channels, 3),
                in_2=_norm(channels),
            )
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        return features + self.branch(features)


class CartoonGenerator(nn.Sequential):
    """A generator from photo to cartoon, both (batch, 3, height, width), BGR in [-1, 1].

    Height and width are multiples of 4, at least 8; other sizes are rounded up to the next multiple
    of 4. Layers have the released names (conv01_1, in01_1, ...), but block n of the trunk is
    blocks.n; from_released() translates.

    Args:
        width: channels at full resolution; the trunk has 4 * width.
        blocks: number of residual blocks of the trunk.
    """

    contract = CONTRACT

    def __init__(self, width: int = 64, blocks: int = _RELEASED_BLOCKS) -> None:
        if width < 1 or blocks < 1:
            raise UserError(f"width and blocks must be at least 1, got {width} and {blocks}")
        half, quarter = 2 * width, 4 * width
        trunk = nn.Sequential(*(ResidualBlock(quarter) for _ in range(blocks)))
        super().__init__(
            OrderedDict[str, nn.Module](
                pad01=nn.ReflectionPad2d(3),
                conv01_1=nn.Conv2d(3, width, 7),
                in01_1=_norm(width),
                relu01=nn.ReLU(),
                conv02_1=nn.Conv2d(width, half, 3, stride=2, padding=1),
                conv02_2=nn.Conv2d(half, half, 3, padding=1),
                in02_1=_norm(half),
                relu02=nn.ReLU(),
                conv03_1=nn.Conv2d(half, quarter, 3, stride=2, padding=1),
                conv03_2=nn.Conv2d(quarter, quarter, 3, padding=1),
                in03_1=_norm(quarter),
                relu03=nn.ReLU(),
                blocks=trunk,
                deconv01_1=nn.ConvTranspose2d(quarter, half, 3, 2, padding=1, output_padding=1),
                deconv01_2=nn.Conv2d(half, half, 3, padding=1),
                in12_1=_norm(half),
                relu12=nn.ReLU(),
                deconv02_1=nn.ConvTranspose2d(half, width, 3, 2, padding=1, output_padding=1),
                deconv02_2=nn.Conv2d(width, width, 3, padding=1),
                in13_1=_norm(width),
                relu13=nn.ReLU(),
                pad03=nn.ReflectionPad2d(3),
                deconv03_1=nn.Conv2d(width, 3, 7),
                tanh=nn.Tanh(),
            )
        )


def from_released(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename a state dict from the released names to ours; our own names stay.

    convNN_k and inNN_k of blocks 04 to 11 become blocks.(NN - 4).branch. A norm's scale and shift,
    of shape (C,) or in some copies (1, C, 1, 1), become its weight and bias (C,).
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if match := _BLOCK_KEY.fullmatch(name):
            kind, number, position, rest = match.groups()
            block = int(number) - _FIRST_BLOCK
            if 0 <= block < _RELEASED_BLOCKS:
                name = f"blocks.{block}.branch.{kind}_{position}.{rest}"
        stem, _, field = name.rpartition(".")
        if field in ("scale", "shift"):
            name = f"{stem}.{'weight' if field == 'scale' else 'bias'}"
            tensor = tensor.reshape(-1)
        renamed[name] = tensor
    return renamed


def infer_arguments(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Infer width and number of blocks from a state dict with our names, where possible."""
    arguments: dict[str, Any] = {}
    first = state.get("conv01_1.weight")
    if first is not None and first.ndim == 4:
        arguments["width"] = first.shape[0]
    numbers = {int(name.split(".")[1]) for name in state if re.match(r"blocks\.\d+\.", name)}
    if numbers:
        arguments["blocks"] = len(numbers)
    return arguments


ENTRIES = {
    "cartoongan": Entry(
        "CartoonGAN (Chen et al. 2018), photo to cartoon",
        CartoonGenerator,
        infer_arguments,
        from_released,
    ),
}
