"""Quantisation of a network that is never exported, such as a discriminator in training.

Ranges are taken anew from every tensor, so that there is no state to calibrate, save or resume.
Rounding passes gradients straight through, as in a student.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan_slimming.data.ranks.shared_statistics import largest_of_batch
from gan_slimming.quantization.affine import along, code_range, quantize, weight_scale

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class RoundedWeight(nn.Module):
    """A parametrisation that rounds a weight to `bits`, with one scale per output channel."""

    def __init__(self, bits: int, axis: int):
        super().__init__()
        self.bits, self.axis = bits, axis

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight on its grid; gradients pass."""
        scale = along(weight_scale(weight, self.axis, self.bits), self.axis, weight.dim())
        return _rounded(weight, scale, self.bits)


def quantize_layers(network: nn.Module, bits: int) -> None:
    """Round weights and inputs of all convolutions and linear layers to `bits`, in place.

    Parametrised layers, as by spectral norm, round what their parametrisation computes.

    Args:
        network: any network; its parameters stay the same tensors, in full precision.
        bits: 2 to 8.
    """
    for layer in [m for m in network.modules() if isinstance(m, LAYERS)]:
        axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        parametrize.register_parametrization(layer, "weight", RoundedWeight(bits, axis))
        layer.register_forward_pre_hook(_InputRounding(bits))


class _InputRounding:
    """A hook that rounds a layer's input by the largest value of the batch."""

    def __init__(self, bits: int):
        self.bits = bits

    def __call__(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        values: Tensor = inputs[0]
        largest = largest_of_batch(values.detach().abs().amax().float())
        scale = (largest / code_range(self.bits, signed=True)[1]).clamp_min(1e-12)
        return (_rounded(values, scale.to(values.dtype), self.bits), *inputs[1:])


def _rounded(values: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Round to the symmetric grid of `bits`; the gradient is that of the identity."""
    low, high = code_range(bits, signed=True)
    with torch.no_grad():
        change = quantize(values, scale, low, high) * scale - values
    return values + change
