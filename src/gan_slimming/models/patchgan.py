"""The patch discriminator of pix2pix and CycleGAN (Isola et al., CVPR 2017, section 3.2.2)."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict, size
from gan_slimming.models.initialisation import initialise

NORMS = ("instance", "batch")


class PatchDiscriminator(nn.Module):
    """A discriminator with one unbounded realness score for every overlapping patch.

    It maps (batch, channels, height, width) in [-1, 1] to (batch, 1, h, w). With 3 layers a score
    sees 70 x 70 pixels, and 256 x 256 pixels give 30 x 30 scores. Children of `model` have the
    official implementation's positions.

    Args:
        width: channels of the first layer; they double with each layer, up to 8 * width.
        layers: number of convolutions of stride 2.
        channels: channels of the image.
        norm: 'instance' (without scale and shift), or 'batch' (convolutions before a norm then have
            no bias).
    """

    def __init__(
        self, width: int = 64, layers: int = 3, channels: int = 3, norm: str = "instance"
    ) -> None:
        super().__init__()
        if min(width, layers, channels) < 1:
            raise UserError(
                "width, layers and channels must be at least 1, "
                f"got {width}, {layers} and {channels}"
            )
        if norm not in NORMS:
            raise UserError(f"norm must be one of {', '.join(NORMS)}, got {norm}")
        make_norm = nn.InstanceNorm2d if norm == "instance" else nn.BatchNorm2d
        modules: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        incoming = width
        for layer in range(1, layers + 1):
            outgoing = width * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            modules.append(nn.Conv2d(incoming, outgoing, 4, stride, 1, bias=norm == "instance"))
            modules += [make_norm(outgoing), nn.LeakyReLU(0.2)]
            incoming = outgoing
        modules.append(nn.Conv2d(incoming, 1, 4, 1, 1))
        self.model = nn.Sequential(*modules)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) in [-1, 1] to scores (batch, 1, h, w)."""
        return self.model(images)


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer width, layers, channels and kind of norm from a state dict, where possible."""
    width, channels = size(state, "model.0.weight"), size(state, "model.0.weight", 1)
    layers = sum(
        re.fullmatch(r"model\.\d+\.weight", name) is not None and tensor.ndim == 4
        for name, tensor in state.items()
    )
    if width is None or layers < 3:
        return {}
    norm = "batch" if "model.3.weight" in state else "instance"
    return {"width": width, "layers": layers - 2, "channels": channels, "norm": norm}


ENTRIES = {
    "patchgan": Entry(
        "PatchGAN (Isola et al. 2017), 70x70 patches, of pix2pix and CycleGAN",
        PatchDiscriminator,
        infer_arguments,
    ),
}
