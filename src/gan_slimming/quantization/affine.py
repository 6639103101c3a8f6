"""Uniform quantisation as pure mathematics: codes, levels and scales.

Symmetric throughout (zero_point = 0), so that zero padding and removed channels are exact, and an
int8 convolution needs no correction terms.
"""

from __future__ import annotations

import torch
from torch import Tensor


def code_range(bits: int, *, signed: bool) -> tuple[int, int]:
    """Smallest and largest code: at most 2**bits levels.

    >>> code_range(8, signed=False), code_range(8, signed=True)
    ((0, 255), (-128, 127))
    """
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def quantize(values: Tensor, scale: Tensor | float, low: int, high: int) -> Tensor:
    """Codes clamp(round(values / scale), low, high), still in floating point. Ties go to even."""
    return torch.clamp(torch.round(values / scale), low, high)


def dequantize(codes: Tensor, scale: Tensor | float) -> Tensor:
    """Real values of codes."""
    return codes * scale


def weight_scale(weight: Tensor, axis: int, bits: int) -> Tensor:
    """Per-channel symmetric scale max|W| / (2**(bits-1) - 1), Wang et al. 2020, section 3.2.

    Args:
        weight: any shape.
        axis: the axis of output channels.
    Returns:
        (weight.shape[axis],), positive; a channel of zeros gets the smallest normal number.
    """
    others = [dim for dim in range(weight.dim()) if dim != axis]
    largest = weight.detach().abs().amax(dim=others) if others else weight.detach().abs()
    return (largest / (2 ** (bits - 1) - 1)).clamp_min(torch.finfo(weight.dtype).tiny)


def along(vector: Tensor, axis: int, dims: int) -> Tensor:
    """Shape a vector so that it broadcasts along `axis` of a tensor with `dims` dimensions."""
    return vector.view([-1 if dim == axis else 1 for dim in range(dims)])
