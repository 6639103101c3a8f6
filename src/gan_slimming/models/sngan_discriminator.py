"""SNGAN's discriminator for 32x32 pixels (Miyato et al., ICLR 2018, appendix B.4, table 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict, size

Wrap = Callable[[nn.Module], nn.Module]

_ORIGINAL, _LEFT, _RIGHT = (
    f"parametrizations.weight.{end}" for end in ("original", "0._u", "0._v")
)
_OLDER = {"weight_orig": _ORIGINAL, "weight_u": _LEFT, "weight_v": _RIGHT}
"""Names of torch.nn.utils.spectral_norm -> those of its parametrisation."""


class DownBlock(nn.Module):
    """A residual block: c_sc(x), or x itself, plus c2(relu(c1(relu(x)))); halved if `down` is set.

    Args:
        channels: channels inside and out.
        incoming: channels of the input; the first block, on the image (3), has no leading relu.
        down: whether height and width are halved.
        wrap: adds spectral normalisation to a layer, or returns the layer itself.
    """

    def __init__(self, channels: int, incoming: int, down: bool, wrap: Wrap) -> None:
        super().__init__()
        self.first = incoming != channels
        self.down = nn.AvgPool2d(2) if down else nn.Identity()
        self.c1 = wrap(_convolution(incoming, channels, 3, 2**0.5))
        self.c2 = wrap(_convolution(channels, channels, 3, 2**0.5))
        self.c_sc = wrap(_convolution(incoming, channels, 1, 1.0)) if down else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, incoming, height, width) to (batch, channels, h, w)."""
        inner = features if self.first else self.relu(features)
        inner = self.down(self.c2(self.relu(self.c1(inner))))
        # The 1x1 convolution and the pooling commute; after the pooling it costs a quarter.
        return inner + self.c_sc(self.down(features))


class SnganDiscriminator(nn.Module):
    """A discriminator with one unbounded realness score per image.

    It maps (batch, 3, 32, 32) in [-1, 1] to (batch, 1). Larger images pass as well, because
    features are summed over all pixels.

    Args:
        width: channels of every layer.
        bias: whether the last layer has a bias.
        spectral: whether every layer has spectral normalisation.
    """

    def __init__(self, width: int = 128, bias: bool = False, spectral: bool = True) -> None:
        super().__init__()
        if width < 4:
            raise UserError(f"width must be at least 4, got {width}")
        wrap: Wrap = spectral_norm if spectral else _as_it_is
        self.block1 = DownBlock(width, 3, True, wrap)
        self.block2 = DownBlock(width, width, True, wrap)
        self.block3 = DownBlock(width, width, False, wrap)
        self.block4 = DownBlock(width, width, False, wrap)
        self.relu = nn.ReLU()
        self.l5 = wrap(nn.Linear(width, 1, bias=bias))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, height, width) in [-1, 1] to scores (batch, 1)."""
        features = self.block4(self.block3(self.block2(self.block1(images))))
        return self.l5(self.relu(features).sum((2, 3)))


def _convolution(incoming: int, outgoing: int, kernel: int, gain: float) -> nn.Conv2d:
    layer = nn.Conv2d(incoming, outgoing, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    return layer


def _as_it_is(layer: nn.Module) -> nn.Module:
    return layer


def from_spectral(state: StateDict) -> StateDict:
    """Rename a state dict of either of PyTorch's spectral normalisations to the newer one.

    The oldest files hold only the left singular vector u; v is then W^T u, normalised (eq. 17).
    """
    renamed: StateDict = {}
    for name, tensor in state.items():
        stem, _, field = name.rpartition(".")
        renamed[f"{stem}.{_OLDER[field]}" if field in _OLDER else name] = tensor
    for name in [name for name in renamed if name.endswith(_LEFT)]:
        stem = name.removesuffix(_LEFT)
        weight, right = renamed.get(stem + _ORIGINAL), stem + _RIGHT
        if right not in renamed and weight is not None and len(weight) == len(renamed[name]):
            product = weight.flatten(1).t() @ renamed[name]
            renamed[right] = torch.nn.functional.normalize(product, dim=0)
    return renamed


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer width, bias and spectral normalisation from a state dict with our names."""
    spectral = any(name.endswith(_ORIGINAL) for name in state)
    weight = f"block1.c1.{_ORIGINAL}" if spectral else "block1.c1.weight"
    if (width := size(state, weight)) is None:
        return {}
    return {"width": width, "bias": "l5.bias" in state, "spectral": spectral}


ENTRIES = {
    "sngan": Entry(
        "SNGAN (Miyato et al. 2018), ResNet discriminator for 32x32 pixels, spectral norm",
        SnganDiscriminator,
        infer_arguments,
        from_spectral,
    ),
}
