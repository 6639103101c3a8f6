"""A convolution to very few channels, such as an image's three, as one to several times as many.

CPU kernels compute 16 output channels side by side, so that a convolution to 3 wastes most of its
work. Neighbouring columns of the output as channels of their own fill the kernel: the same sums.
"""

from __future__ import annotations

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
    )


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
