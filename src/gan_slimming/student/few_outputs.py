"""A convolution to very few channels, such as an image's three, as one to several times as many.

CPU kernels compute 16 output channels side by side, so that a convolution to 3 wastes most of its
work. Neighbouring columns of the output as channels of their own fill the kernel: the same sums.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COLUMNS = 4
"""Columns of the output that are computed side by side."""
MOST_OUTPUTS = 4
"""Channels up to which it pays."""
SMALLEST_KERNEL = 5
"""Width of a kernel from which it pays: one of width k costs k + COLUMNS - 1 in place of k."""
NEAR = 0.02
"""Relative error up to which sums in bfloat16 are the same."""


def pays(layer: Any, values: Tensor) -> bool:
    """Return whether a layer's output is better computed several columns at a time.

    Only in mixed precision on a CPU, which is training: elsewhere the plain operator is the
    reference.
    """
    return (
        isinstance(layer, nn.Conv2d)
        and values.dim() == 4
        and values.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and layer.out_channels <= MOST_OUTPUTS
        and layer.kernel_size[1] >= SMALLEST_KERNEL
        and (layer.groups, layer.stride, layer.dilation) == (1, (1, 1), (1, 1))
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and (values.shape[3] + 2 * int(layer.padding[1]) - layer.kernel_size[1] + 1) % COLUMNS == 0
        and is_right(
            tuple(values.shape[1:]),
            layer.out_channels,
            tuple(layer.kernel_size),
            tuple(map(int, layer.padding)),
            torch.get_autocast_dtype("cpu"),
        )
    )


@lru_cache(maxsize=256)
def is_right(
    image: tuple[int, ...],
    outputs: int,
    kernel: tuple[int, ...],
    padding: tuple[int, int],
    kind: torch.dtype,
) -> bool:
    """Return whether this CPU computes the wide convolution, and its gradients, as the plain one.

    oneDNN's kernels for AMX give other numbers where the stride divides the kernel's width and
    there are 16 or 24 inputs. So each shape is tried once, on numbers that look random: drawn ones
    would count as noise of the generator.

    Args:
        image: inputs, height and width.
        kernel: height and width.
        kind: the type in which autocast computes.
    """
    values, weight = (
        _scattered(shape).to(kind, memory_format=torch.channels_last).requires_grad_()
        for shape in ((1, *image), (outputs, image[0], *kernel))
    )
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        wide = convolve(values, weight, None, padding)
        plain = F.conv2d(values, weight, None, padding=padding)
        slopes = _scattered(plain.shape).to(kind)
        found = [
            [made.detach(), *torch.autograd.grad(made, (values, weight), slopes)]
            for made in (wide, plain)
        ]
    pairs = zip(*found, strict=True)
    return all(float((a - b).norm()) < NEAR * float(b.norm()) for a, b in pairs)


def _scattered(shape: tuple[int, ...]) -> Tensor:
    """Return numbers in [-1, 1] without a pattern that a convolution could follow."""
    return (torch.arange(math.prod(shape)).square() * 0.7371).sin().view(shape)


def convolve(
    values: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]
) -> Tensor:
    """Return F.conv2d(values, weight, bias, padding=padding), COLUMNS columns at a time.

    Args:
        values: (batch, inputs, height, width); the output's width is a multiple of COLUMNS.
        weight: (outputs, inputs, rows, columns).
    """
    shifted = [F.pad(weight, (k, COLUMNS - 1 - k)) for k in range(COLUMNS)]
    wide = torch.stack(shifted, dim=1).flatten(0, 1)
    wide_bias = None if bias is None else bias.repeat_interleave(COLUMNS)
    made = F.conv2d(values, wide, wide_bias, stride=(1, COLUMNS), padding=padding)
    batch, _, height, width = made.shape
    cells = made.reshape(batch, len(weight), COLUMNS, height, width)
    return cells.permute(0, 1, 3, 4, 2).reshape(batch, len(weight), height, width * COLUMNS)
