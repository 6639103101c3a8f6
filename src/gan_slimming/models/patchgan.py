"""The patch discriminator of pix2pix and CycleGAN (Isola et al., CVPR 2017, section 3.2.2)."""

from __future__ import annotations

import torch
from torch import nn

from gan_slimming.config import UserError
from gan_slimming.models.cyclegan import initialise


class PatchDiscriminator(nn.Module):
    """A realness score, unbounded, for every overlapping patch of a picture.

    (batch, channels, height, width) in [-1, 1] to (batch, 1, h, w). With 3 layers a score sees
    70 x 70 pixels and 256 x 256 pixels give 30 x 30 scores. Children of `model` stand at the
    official implementation's positions; norms have no scale and no shift.

    Args:
        width: channels of the first layer; they double with each layer, up to 8 * width.
        layers: convolutions of stride 2.
        channels: channels of the picture.
    """

    def __init__(self, width: int = 64, layers: int = 3, channels: int = 3) -> None:
        super().__init__()
        if min(width, layers, channels) < 1:
            raise UserError(
                "width, layers and channels must be at least 1, "
                f"got {width}, {layers} and {channels}"
            )
        modules: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        incoming = width
        for layer in range(1, layers + 1):
            outgoing = width * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            modules.append(nn.Conv2d(incoming, outgoing, 4, stride, 1))
            modules += [nn.InstanceNorm2d(outgoing), nn.LeakyReLU(0.2)]
            incoming = outgoing
        modules.append(nn.Conv2d(incoming, 1, 4, 1, 1))
        self.model = nn.Sequential(*modules)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) in [-1, 1] to scores (batch, 1, h, w)."""
        return self.model(images)
