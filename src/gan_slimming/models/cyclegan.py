"""The ResNet generator of CycleGAN (Zhu, Park, Isola, Efros, ICCV 2017, appendix 7.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry
from gan_slimming.models.initialisation import initialise

CONTRACT = InputContract(multiple_of=4, min_size=8)

NORMS = ("instance", "batch")
_BLOCK_KEY = re.compile(r"(model\.\d+)\.conv_block\.(\d+)\.(.+)")


def _norm(norm: str, affine: bool) -> tuple[Callable[[int], nn.Module], bool]:
    """Return the class of the norms, and whether convolutions before them have biases."""
    if norm == "batch":
        return nn.BatchNorm2d, False
    return partial(nn.InstanceNorm2d, affine=affine), True


class ResnetBlock(nn.Module):
    """A residual block x + conv_block(x): (pad, conv, norm, relu, pad, conv, norm)."""

    def __init__(self, channels: int, affine: bool, norm: str = "instance") -> None:
        super().__init__()
        make_norm, bias = _norm(norm, affine)
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            make_norm(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            make_norm(channels),
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
        affine: whether instance norms have a scale and a shift; the official networks have none.
        norm: 'instance', or 'batch', the default of pix2pix's script; the convolutions before a
            batch norm have no biases.
    """

    contract = CONTRACT

    def __init__(
        self, width: int = 64, blocks: int = 9, affine: bool = False, norm: str = "instance"
    ) -> None:
        super().__init__()
        if width < 1 or blocks < 1:
            raise UserError(f"width and blocks must be at least 1, got {width} and {blocks}")
        if norm not in NORMS:
            raise UserError(f"norm must be one of {', '.join(NORMS)}, got {norm}")
        make_norm, bias = _norm(norm, affine)
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=bias)]
        layers += [make_norm(width), nn.ReLU()]
        for channels in (width, 2 * width):
            layers.append(nn.Conv2d(channels, 2 * channels, 3, 2, padding=1, bias=bias))
            layers += [make_norm(2 * channels), nn.ReLU()]
        layers += [ResnetBlock(4 * width, affine, norm) for _ in range(blocks)]
        for channels in (2 * width, width):
            layers.append(nn.ConvTranspose2d(2 * channels, channels, 3, 2, 1, 1, bias=bias))
            layers += [make_norm(channels), nn.ReLU()]
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
    """Infer width, number of blocks and kind of norms from a state dict, where possible."""
    arguments: dict[str, Any] = {}
    first = state.get("model.1.weight")
    if first is not None and first.ndim == 4:
        arguments["width"] = first.shape[0]
        batch = "model.2.running_var" in state and "model.1.bias" not in state
        arguments["norm"] = "batch" if batch else "instance"
        arguments["affine"] = "model.2.weight" in state and not batch
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
