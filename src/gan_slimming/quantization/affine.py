"""Uniform quantisation as pure functions: codes, levels and scales.

All are symmetric (zero point 0). Zero padding and removed channels are therefore exact, and an int8
convolution needs no correction terms.
"""

from __future__ import annotations

import torch
from torch import Tensor


def code_range(bits: int, *, signed: bool) -> tuple[int, int]:
    """Return the smallest and largest code, at most 2**bits levels.

    >>> code_range(8, signed=False), code_range(8, signed=True)
    ((0, 255), (-128, 127))
    """
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def quantize(values: Tensor, scale: Tensor | float, low: int, high: int) -> Tensor:
    """Return the codes clamp(round(values / scale), low, high), as floats. Ties go to even."""
    return torch.clamp(torch.round(values / scale), low, high)


def dequantize(codes: Tensor, scale: Tensor | float) -> Tensor:
    """Return the real values of codes."""
    return codes * scale


def weight_scale(weight: Tensor, axis: int, bits: int) -> Tensor:
    """Return the scale max|W| / (2**(bits-1) - 1) per channel, Wang et al. 2020, section 3.2.

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
    """Reshape a vector to broadcast along `axis` of a tensor with `dims` dimensions."""
    return vector.view([-1 if dim == axis else 1 for dim in range(dims)])
