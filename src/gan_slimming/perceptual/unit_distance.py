"""LPIPS's distance of two feature maps in few passes over memory, with its gradient written out.

As separate operators it took half of the time of the whole distance, the network included: each
reads and writes maps of 64 channels at half the image's size in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-10
"""Added to the length of a feature vector, as in the original."""


class _UnitDistance(torch.autograd.Function):
    """sum_c w_c (a_c / (|a| + e) - b_c / (|b| + e))^2, mean over positions; a gradient for a."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
        kind = torch.promote_types(first.dtype, torch.float32)
        lengths = _lengths(first.to(kind))
        units = first.to(kind) / (lengths + EPSILON)
        other = second.to(kind)
        difference = torch.addcdiv(units, other, _lengths(other) + EPSILON, value=-1)
        weighted = difference * weight
        ctx.save_for_backward(units, lengths, weighted)
        ctx.kind = first.dtype
        return (weighted * difference).sum(dim=1).mean(dim=(1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        units, lengths, weighted = ctx.saved_tensors
        area = units.shape[2] * units.shape[3]
        # With u = a / (|a| + e) and g = dL/du: dL/da = (g - u (g . u) (|a| + e) / |a|) / (|a| + e).
        factor = (2 / area) * grads[0].view(-1, 1, 1, 1) / (lengths + EPSILON)
        along = (weighted * units).sum(dim=1, keepdim=True) * (lengths + EPSILON) / lengths
        along = torch.where(lengths > EPSILON, along, 0.0)  # a dead vector's length is held
        gradient = torch.addcmul(weighted, units, along, value=-1).mul_(factor)
        return gradient.to(ctx.kind), None, None


def unit_distance(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Return the distance (batch,) of two maps of features, each vector scaled to length one.

    Args:
        first, second: (batch, channels, height, width). `second` gets no gradient.
        weight: (1, channels, 1, 1), not negative.
    """
    return _UnitDistance.apply(first, second.detach(), weight)  # pyright: ignore


def _lengths(features: Tensor) -> Tensor:
    """Lengths (batch, 1, height, width), at least EPSILON."""
    return torch.linalg.vector_norm(features, dim=1, keepdim=True).clamp_min(EPSILON)
