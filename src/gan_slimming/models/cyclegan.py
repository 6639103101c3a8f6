"""The ResNet generator of CycleGAN (Zhu, Park, Isola, Efros, ICCV 2017, appendix 7.2)."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry
from gan_slimming.models.initialisation import initialise

CONTRACT = InputContract(multiple_of=4, min_size=8)

_BLOCK_KEY = re.compile(r"(model\.\d+)\.conv_block\.(\d+)\.(.+)")


class ResnetBlock(nn.Module):
    """A residual block x + conv_block(x): (pad, conv, norm, relu, pad, conv, norm)."""

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=affine),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=affine),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        return features + self.conv_block(features)


class ResnetGenerator(nn.Module):
    """An image-to-image generator, both (batch, 3, height, width), RGB in [-1, 1].

    Height and width are multiples of 4, at least 8. Children of `model` have the official
    implementation's positions, so that its checkpoints fit by name. 0 to 9 are the encoder and the
    blocks start at 10; two transposed convolutions and the output convolution follow.

    Args:
        width: channels at full resolution; the blocks have 4 * width.
        blocks: number of residual blocks; the paper has 9 for images of 256 pixels, 6 for 128.
        affine: whether norms have a scale and a shift; the official networks have none.
    """

    contract = CONTRACT

    def __init__(self, width: int = 64, blocks: int = 9, affine: bool = False) -> None:
        super().__init__()
        if width < 1 or blocks < 1:
            raise UserError(f"width and blocks must be at least 1, got {width} and {blocks}")
        half, quarter = 2 * width, 4 * width

        def norm_relu(channels: int) -> list[nn.Module]:
            return [nn.InstanceNorm2d(channels, affine=affine), nn.ReLU()]

        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7)]
        layers += norm_relu(width)
        layers += [nn.Conv2d(width, half, 3, stride=2, padding=1), *norm_relu(half)]
        layers += [nn.Conv2d(half, quarter, 3, stride=2, padding=1), *norm_relu(quarter)]
        layers += [ResnetBlock(quarter, affine) for _ in range(blocks)]
        for wide, narrow in ((quarter, half), (half, width)):
            layers.append(nn.ConvTranspose2d(wide, narrow, 3, 2, padding=1, output_padding=1))
            layers += norm_relu(narrow)
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, height, width) in [-1, 1] to the same."""
        return self.model(images)


def from_official(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename a state dict of the official implementation, with or without dropout, to ours.

    Dropout, at position 4 of a block, moves all later layers by one. The second convolution, the
    only tensor of four dimensions there, is then conv_block.6 and not .5.
    """
    dropout = any(
        re.fullmatch(r"model\.\d+\.conv_block\.6\.weight", name) and tensor.ndim == 4
        for name, tensor in state.items()
    )
    if not dropout:
        return dict(state)
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if (match := _BLOCK_KEY.fullmatch(name)) and int(match[2]) > 4:
            name = f"{match[1]}.conv_block.{int(match[2]) - 1}.{match[3]}"
        renamed[name] = tensor
    return renamed


def infer_arguments(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Infer width, number of blocks and affine norms from a state dict, where possible."""
    arguments: dict[str, Any] = {}
    first = state.get("model.1.weight")
    if first is not None and first.ndim == 4:
        arguments["width"] = first.shape[0]
        arguments["affine"] = "model.2.weight" in state
    blocks = {match[1] for name in state if (match := _BLOCK_KEY.fullmatch(name))}
    if blocks:
        arguments["blocks"] = len(blocks)
    return arguments


ENTRIES = {
    "cyclegan": Entry(
        "CycleGAN (Zhu et al. 2017), ResNet generator, 9 blocks unless the weights say otherwise",
        ResnetGenerator,
        infer_arguments,
        from_official,
    ),
    "cyclegan-6": Entry(
        "CycleGAN (Zhu et al. 2017), ResNet generator, 6 blocks",
        ResnetGenerator,
        infer_arguments,
        from_official,
        fixed={"blocks": 6},
    ),
}
