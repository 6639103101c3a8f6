"""Norms over all channels, after some of the channels have been cut.

GroupNorm with one group, and LayerNorm over the channels alone, take mean and variance over all C0
channels of the teacher. A channel that is zero at the norm's input still counts in both. With C
channels left, and k = C / C0,

    m = k mean(x)
    v = k mean((x - m)^2) + (1 - k) m^2
    y = scale * (x - m) / sqrt(v + eps) + shift

is exactly the result of all C0 channels with the others at zero.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.data.whole_copy import whole_copy

Module = TypeVar("Module", bound=nn.Module)


class PrunedGroupNorm(nn.GroupNorm):
    """A GroupNorm of one group that had `whole_channels` channels before any cut."""

    whole_channels: int

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (batch, channels, ...) over everything but the batch."""
        return normalise_over_channels(self, input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, whole_channels={self.whole_channels}"


class PrunedLayerNorm(nn.LayerNorm):
    """A LayerNorm over a last axis of length `whole_channels` before any cut."""

    whole_channels: int

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (..., channels) over the last axis."""
        return normalise_over_channels(self, input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, whole_channels={self.whole_channels}"


PRUNED_NORMS: dict[type[nn.Module], type[nn.Module]] = {
    nn.GroupNorm: PrunedGroupNorm,
    nn.LayerNorm: PrunedLayerNorm,
}
"""Norm -> its type after the first cut. Only exact types: a subclass may compute something else."""


def is_over_channels(layer: object) -> bool:
    """Return whether a norm takes one mean over all channels, or over the whole last axis."""
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups == 1
    return isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1


def normalise_over_channels(
    layer: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Apply a GroupNorm or LayerNorm, pruned or not, with this scale and shift."""
    grouped, whole = isinstance(layer, nn.GroupNorm), getattr(layer, "whole_channels", None)
    if whole is None and grouped:
        return F.group_norm(values, layer.num_groups, weight, bias, layer.eps)
    if whole is None:
        return F.layer_norm(values, layer.normalized_shape, weight, bias, layer.eps)
    assert weight is not None
    wide = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
    axes = list(range(1, values.dim())) if grouped else [values.dim() - 1]
    share = len(weight) / whole
    mean = share * wide.mean(axes, keepdim=True)
    apart = wide - mean
    variance = share * apart.square().mean(axes, keepdim=True) + (1 - share) * mean.square()
    shape = [-1, *[1] * (values.dim() - 2 if grouped else 0)]
    factor = torch.rsqrt(variance + layer.eps) * weight.reshape(shape)
    made = apart * factor if bias is None else torch.addcmul(bias.reshape(shape), apart, factor)
    return made if made.dtype == weight.dtype else made.to(weight.dtype)


def thin(layer: Any, left: int) -> None:
    """Set the channels left of a norm over all channels, and keep the original number. In place.

    The student's version of a norm keeps its class, and reads `whole_channels`.
    """
    grouped = isinstance(layer, nn.GroupNorm)
    before = layer.num_channels if grouped else layer.normalized_shape[0]
    if left == before:
        return
    layer.whole_channels = getattr(layer, "whole_channels", before)
    if grouped:
        layer.num_channels = left
    else:
        layer.normalized_shape = (left,)
    layer.__class__ = PRUNED_NORMS.get(type(layer), type(layer))


def as_if_whole(module: Module) -> Module:
    """Return the module, or a copy with the teacher's norms, so that each is one call in the graph.

    The walk over channels does not depend on their original number.
    """
    plain = {pruned: norm for norm, pruned in PRUNED_NORMS.items()}
    if not any(type(layer) in plain for layer in module.modules()):
        return module
    module = whole_copy(module)
    for layer in module.modules():
        layer.__class__ = plain.get(type(layer), type(layer))
    return module
