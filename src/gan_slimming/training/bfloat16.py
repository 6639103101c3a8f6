"""Convolutions that a CPU computes wrongly in bfloat16.

oneDNN does on CPUs with AMX, for kernels of width 4 or 8 at some strides, and few inputs: their
outputs are noise, their gradients right (benchmarks/onednn_faults.py). A generator would be trained
on images that it does not draw.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NARROW = (8, 16, 24)
"""Channels of a student's layers that the fast kernels of a CPU treat in their own ways."""
WRONG = 0.03
"""Relative error that rounding to bfloat16 does not explain."""
FIELD = 32
"""Pixels by which an image of the trial is wider than the kernel."""


def wrong_in_bfloat16(generator: nn.Module) -> str:
    """Return a convolution that this CPU computes wrongly, such as '8x8 at stride 1'; '' for none.

    The kernels and strides of the generator are tried with widths that a student's layers may get.
    """
    layers = (x for x in generator.modules() if isinstance(x, nn.Conv2d | nn.ConvTranspose2d))
    shapes = {
        (isinstance(layer, nn.ConvTranspose2d), layer.kernel_size, layer.stride)
        for layer in layers
        if layer.groups == 1
    }
    for transposed, kernel, stride in sorted(shapes):
        tried = (errors(kernel, stride, width, width, transposed=transposed) for width in NARROW)
        if any(max(found.values()) > WRONG for found in tried):
            return f"{'x'.join(map(str, kernel))} at stride {max(stride)}"
    return ""


def errors(
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    inputs: int,
    outputs: int,
    *,
    transposed: bool = False,
) -> dict[str, float]:
    """Return the relative errors in bfloat16 of a convolution's output and of both gradients.

    Args:
        kernel, stride: height and width.
        inputs, outputs: channels.
    Returns:
        output, of_values and of_weight.
    """
    numbers = torch.Generator().manual_seed(0)
    channels = (inputs, outputs) if transposed else (outputs, inputs)
    values = torch.randn(1, inputs, kernel[0] + FIELD, kernel[1] + FIELD, generator=numbers)
    weight = torch.randn(*channels, *kernel, generator=numbers)
    convolve = F.conv_transpose2d if transposed else F.conv2d
    exact, rough = (
        _computed(convolve, values.to(kind), weight.to(kind), stride)
        for kind in (torch.float32, torch.bfloat16)
    )
    return {
        name: float((a - b).norm() / a.norm())
        for name, a, b in zip(("output", "of_values", "of_weight"), exact, rough, strict=True)
    }


def _computed(
    convolve: Any, values: Tensor, weight: Tensor, stride: tuple[int, ...]
) -> list[Tensor]:
    """Return a convolution's output, and its gradients for random slopes, in float32."""
    given = [
        x.contiguous(memory_format=torch.channels_last).requires_grad_() for x in (values, weight)
    ]
    with torch.enable_grad():
        made = convolve(*given, stride=stride)
        slopes = torch.randn(made.shape, generator=torch.Generator().manual_seed(1))
        gradients = torch.autograd.grad(made, given, slopes.to(made.dtype))
    return [x.detach().float() for x in (made, *gradients)]
