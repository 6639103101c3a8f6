"""The integers of a student's quantised layers: codes and scales."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.quantization.affine import along, quantize
from gan_slimming.student.layers import SlimConvolution, output_axis

FULL = ((-128, 127), (0, 255))
"""The ranges of 8-bit codes, signed and unsigned."""


@dataclass(frozen=True)
class Codes:
    """The quantisation of a layer's input: codes in [low, high]; a value is scale * code."""

    scale: float
    low: int
    high: int

    @property
    def signed(self) -> bool:
        return self.low < 0

    @property
    def full(self) -> bool:
        """Return whether the codes fill the range of a byte."""
        return (self.low, self.high) in FULL


@dataclass(frozen=True)
class OutputCodes:
    """The quantisation of a layer's sums: codes in [low, high]; scale is (output channels,)."""

    scale: np.ndarray
    low: int
    high: int

    @property
    def full(self) -> bool:
        return (self.low, self.high) in FULL

    def tiled(self, factor: int) -> OutputCodes:
        """Return the codes for factor x factor pixels computed at once; 0 stands for one pixel."""
        return dataclasses.replace(self, scale=np.tile(self.scale, factor**2)) if factor else self


@dataclass(frozen=True)
class QuantizedLayer:
    """The integers of one trained layer.

    Attributes:
        codes: the weight's shape, int8; None where the weight is in float.
        scale: (output channels,) float32; a weight is scale * code along `axis`.
        axis: the weight's axis of output channels.
        inputs: of the input; None where it is in float.
        outputs: of the sums, before the bias; None where they are in float.
    """

    codes: np.ndarray | None
    scale: np.ndarray | None
    axis: int
    inputs: Codes | None
    outputs: OutputCodes | None = None


def is_quantized(module: nn.Module) -> bool:
    """Return whether any layer of the generator has a quantiser."""
    return bool(quantized_layers(module))


def quantized_layers(module: nn.Module) -> dict[str, Any]:
    """Return path -> layer, for layers with a quantiser."""
    return {
        name: layer
        for name, layer in module.named_modules(remove_duplicate=False)
        if isinstance(layer, SlimConvolution)
        and (layer.weight_quantizer is not None or layer.input_quantizer is not None)
    }


def layer_integers(path: str, layer: Any) -> QuantizedLayer:
    """Return the integers of a quantised layer.

    Raises:
        UserError: it has more than 8 bits, for which no runtime has int8 kernels.
    """
    weights = layer.weight_quantizer
    for quantizer in (weights, layer.input_quantizer, layer.output_quantizer):
        if quantizer is not None and quantizer.bits > 8:
            raise UserError(
                f"{path} is quantised to {quantizer.bits} bits; export takes up to 8, or "
                "--quantization none"
            )
    axis = output_axis(layer)
    codes = scale = None
    if weights is not None:
        spread = along(weights.scale, axis, layer.weight.dim())
        integers = quantize(layer.weight.detach(), spread, *weights.codes)
        codes, scale = integers.to(torch.int8).cpu().numpy(), array_of(weights.scale)
    reads = gives = None
    if (inputs := layer.input_quantizer) is not None:
        reads = Codes(float(inputs.scale.detach().float()), *inputs.codes)
    if (outputs := layer.output_quantizer) is not None:
        gives = OutputCodes(array_of(outputs.scale), *outputs.codes)
    return QuantizedLayer(codes, scale, axis, reads, gives)


def array_of(tensor: Tensor) -> np.ndarray:
    """Copy a tensor to numpy, as float32 if it is floating point."""
    kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", kind).contiguous().numpy().copy()
