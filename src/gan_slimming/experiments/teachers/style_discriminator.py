"""The discriminator of adaptive style transfer, which judges at several of its layers.

Sanakoyeu, Kotovenko, Lang, Ommer, ECCV 2018; layers as in the authors' code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

WIDTHS = (2, 2, 4, 8, 8, 16, 16)
"""Channels of each layer over the width."""
HEADS = {0: 5, 1: 10, 3: 10, 5: 6, 6: 3}
"""Layer -> side in pixels of the kernel that judges its features."""


class StyleDiscriminator(nn.Module):
    """Strided layers, some with a judge: (batch, 3, height, width) to a list of logits, as maps.

    Args:
        width: half of the first layer's channels (64 as published).
        size: side of the images in pixels; below 256 the last layers are left out, because an
            instance norm needs more than one value.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        count = min(len(WIDTHS), int(math.log2(size)) - 1)
        layers, heads = [], {}
        incoming = 3
        for place, factor in enumerate(WIDTHS[:count]):
            outgoing = factor * width
            layers.append(
                nn.Sequential(
                    nn.Conv2d(incoming, outgoing, 5, 2, 2, bias=False),
                    nn.InstanceNorm2d(outgoing, affine=True),
                    nn.LeakyReLU(0.2),
                )
            )
            if place in HEADS:
                heads[str(place)] = _head(outgoing, HEADS[place])
            incoming = outgoing
        self.layers, self.heads = nn.ModuleList(layers), nn.ModuleDict(heads)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return logits (batch, 1, h, w) of each judge, the finest first."""
        found: list[Tensor] = []
        for place, layer in enumerate(self.layers):
            images = layer(images)
            if str(place) in self.heads:
                found.append(self.heads[str(place)](images))
        return found


def _head(incoming: int, kernel: int) -> nn.Module:
    """Return a convolution to one map of the same size; an even kernel has more room behind."""
    before, behind = (kernel - 1) // 2, kernel // 2
    pad = nn.ZeroPad2d((before, behind, before, behind))
    return nn.Sequential(pad, nn.Conv2d(incoming, 1, kernel))


def share_right(logits: list[Tensor], real: bool) -> Tensor:
    """Return the share of logits on the right side of 0, a mean over judges."""
    right = [((x > 0) if real else (x < 0)).float().mean() for x in logits]
    return torch.stack(right).mean()
