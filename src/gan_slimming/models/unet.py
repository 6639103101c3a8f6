"""The U-Net generator of pix2pix (Isola, Zhu, Zhou, Efros, CVPR 2017, section 3.2.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict, size
from gan_slimming.models.initialisation import initialise

NORMS = ("batch", "instance")

_DROPOUT_FROM = 4
"""Levels from here to the last but one have dropout; they have 512 channels inside and outside."""


class Level(nn.Module):
    """One level of the U: down, all levels below, up; its input is concatenated to the result."""

    def __init__(self, layers: list[nn.Module], outermost: bool = False) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.outermost = outermost

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to twice the channels; the outermost to an image."""
        inner = self.model(features)
        return inner if self.outermost else torch.cat((features, inner), 1)


class UnetGenerator(nn.Module):
    """An image-to-image generator, both (batch, 3, height, width), RGB in [-1, 1].

    Height and width are multiples of 2 ** downs. Children have the official implementation's
    positions: model.model.0 is the first convolution, model.model.1 the next level, and so on.

    The official scripts generate images with dropout and batch statistics. Evaluation mode, as used
    everywhere here, has neither, so that an image does not depend on chance.

    Args:
        width: channels of the first level; they double with each level, up to 8 * width.
        downs: number of levels: 8 for images of 256 pixels, 7 for 128.
        norm: 'batch', or 'instance' (without scale and shift; convolutions then have biases).
        dropout: whether the levels above the innermost have dropout, which has no weights.
    """

    def __init__(
        self, width: int = 64, downs: int = 8, norm: str = "batch", dropout: bool = True
    ) -> None:
        super().__init__()
        if width < 1 or downs < 2:
            raise UserError(f"width must be at least 1 and downs 2, got {width} and {downs}")
        if norm not in NORMS:
            raise UserError(f"norm must be one of {', '.join(NORMS)}, got {norm}")
        self.contract = InputContract(multiple_of=2**downs, min_size=2**downs)
        bias = norm == "instance"
        make_norm = nn.InstanceNorm2d if bias else nn.BatchNorm2d
        widths = [width * min(2**level, 8) for level in range(downs)]
        below: list[nn.Module] = []
        for level in range(downs - 1, 0, -1):
            outer, inner = widths[level - 1], widths[level]
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)]
            layers.append(nn.Conv2d(outer, inner, 4, 2, 1, bias=bias))
            if below:
                layers += [make_norm(inner), *below]
            entering = 2 * inner if below else inner
            layers += [nn.ReLU(), nn.ConvTranspose2d(entering, outer, 4, 2, 1, bias=bias)]
            layers.append(make_norm(outer))
            if dropout and below and level >= _DROPOUT_FROM:
                layers.append(nn.Dropout(0.5))
            below = [Level(layers)]
        first = nn.Conv2d(3, width, 4, 2, 1, bias=bias)
        last = nn.ConvTranspose2d(2 * width, 3, 4, 2, 1)
        self.model = Level([first, *below, nn.ReLU(), last, nn.Tanh()], outermost=True)
        initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, height, width) in [-1, 1] to the same."""
        return self.model(images)


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer width, levels and kind of norm from a state dict, where possible."""
    width = size(state, "model.model.0.weight")
    if width is None:
        return {}
    levels = [name.count("model.") - 1 for name in state if name.startswith("model.model.")]
    norm = "instance" if "model.model.0.bias" in state else "batch"
    return {"width": width, "downs": max(levels), "norm": norm}


ENTRIES = {
    f"unet-{pixels}": Entry(
        f"pix2pix (Isola et al. 2017), U-Net of {downs} levels for {pixels} pixels",
        UnetGenerator,
        infer_arguments,
        fixed={"downs": downs},
    )
    for pixels, downs in ((128, 7), (256, 8))
}
