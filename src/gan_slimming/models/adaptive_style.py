"""Adaptive style transfer (Sanakoyeu, Kotovenko, Lang, Ommer, ECCV 2018, section 3.3)."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict, known, size
from gan_slimming.models.initialisation import initialise

_VARIABLE = re.compile(
    r"(encoder|decoder)/(?:(g_r\d+)_)?(\w+?)(?:/\w+)*/(weights|scale|offset)(?::0)?"
)
_FIELDS = {"weights": "weight", "scale": "weight", "offset": "bias"}


def _convolution(
    incoming: int, outgoing: int, kernel: int = 3, stride: int = 1, padding: int = 0
) -> nn.Conv2d:
    """Return a convolution without bias, as everywhere in this network."""
    return nn.Conv2d(incoming, outgoing, kernel, stride, padding, bias=False)


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)


class ResidualBlock(nn.Module):
    """A residual block x + norm(conv(relu(norm(conv(x))))), padded by reflection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(1)
        self.c1, self.bn1 = _convolution(channels, channels), _norm(channels)
        self.c2, self.bn2 = _convolution(channels, channels), _norm(channels)
        self.relu = nn.ReLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        inner = self.relu(self.bn1(self.c1(self.pad(features))))
        return features + self.bn2(self.c2(self.pad(inner)))


class AdaptiveStyleGenerator(nn.Module):
    """A generator from photo to painting, both (batch, 3, height, width), RGB in [-1, 1].

    Height and width are multiples of 16, at least 32. Layers have the names of the published
    network's variables; a block of the decoder is decoder.g_rN with c1, bn1, c2, bn2 inside.

    Args:
        width: channels of the first two convolutions; the blocks have 8 * width.
        blocks: number of residual blocks.
    """

    contract = InputContract(multiple_of=16, min_size=32)

    def __init__(self, width: int = 32, blocks: int = 9) -> None:
        super().__init__()
        if width < 1 or blocks < 1:
            raise UserError(f"width and blocks must be at least 1, got {width} and {blocks}")
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        encoder: OrderedDict[str, nn.Module] = OrderedDict()
        encoder["g_e0_bn"], encoder["pad"] = _norm(3), nn.ReflectionPad2d(15)
        for place, outgoing in enumerate(widths, 1):
            incoming = widths[place - 2] if place > 1 else 3
            encoder[f"g_e{place}_c"] = _convolution(incoming, outgoing, stride=min(place, 2))
            encoder[f"g_e{place}_bn"] = _norm(outgoing)
            encoder[f"relu{place}"] = nn.ReLU()
        decoder: OrderedDict[str, nn.Module] = OrderedDict()
        for block in range(1, blocks + 1):
            decoder[f"g_r{block}"] = ResidualBlock(widths[-1])
        incoming = widths[-1]
        for place, outgoing in enumerate(reversed(widths[1:]), 1):
            decoder[f"up{place}"] = nn.Upsample(scale_factor=2, mode="nearest")
            decoder[f"g_d{place}_dc"] = _convolution(incoming, outgoing, padding=1)
            decoder[f"g_d{place}_bn"] = _norm(outgoing)
            decoder[f"relu{place}"] = nn.ReLU()
            incoming = outgoing
        decoder["pad"], decoder["g_pred_c"] = nn.ReflectionPad2d(3), _convolution(incoming, 3, 7)
        self.encoder, self.decoder = nn.Sequential(encoder), nn.Sequential(decoder)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, height, width) to [-1, 1], by 2 * sigmoid(x) - 1 = tanh(x / 2)."""
        return torch.tanh(self.decoder(self.encoder(images)) / 2)


def from_published(state: StateDict) -> StateDict:
    """Rename a state dict from the published TensorFlow variables to our names.

    'encoder/g_e1_c/Conv/weights', of shape (height, width, incoming, outgoing), becomes
    encoder.g_e1_c.weight, and 'decoder/g_r1_bn1/offset' becomes decoder.g_r1.bn1.bias. Our own
    names stay.
    """
    renamed: StateDict = {}
    for name, tensor in state.items():
        if match := _VARIABLE.fullmatch(name):
            half, block, layer, field = match.groups()
            if field == "weights" and tensor.ndim == 4:
                tensor = tensor.permute(3, 2, 0, 1).contiguous()
            place = f"{block}.{layer}" if block else layer
            name = f"{half}.{place}.{_FIELDS[field]}"
        renamed[name] = tensor
    return renamed


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer width and number of blocks from a state dict with our names, where possible."""
    blocks = {name.split(".")[1] for name in state if name.startswith("decoder.g_r")}
    return known(width=size(state, "encoder.g_e1_c.weight"), blocks=len(blocks) or None)


ENTRIES = {
    "adaptive-style": Entry(
        "Adaptive style transfer (Sanakoyeu et al. 2018), photo to painting",
        AdaptiveStyleGenerator,
        infer_arguments,
        from_published,
    ),
}
