"""Convolutions and linear layers in MIL: weights in int8, activations on the grids of training."""

# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from gan_slimming.export.kernels.windows import spread
from gan_slimming.export.mil.values import Values, unknown
from gan_slimming.export.trace.graph import arguments_of
from gan_slimming.export.trace.integers import Codes, QuantizedLayer
from gan_slimming.graph.nodes import module_path, operator_name, value_of


def write_layer(values: Values, node: fx.Node) -> Any:
    """Write q_o(W * q_a(x)) + b, or the plain layer."""
    given, layer = arguments_of(node), values.traced.layers.get(module_path(node))
    source = values.value(given["input"])
    bias = None if node in values.traced.redundant_biases else values.array(given["bias"])
    if layer is not None and layer.inputs is not None:
        source = on_grid(values, source, layer.inputs)
    outputs = None if layer is None else layer.outputs
    weight = _weight(values, node, layer)
    write = _linear if operator_name(node) == "linear" else _convolution
    sums = write(values, node, source, weight, None if outputs is not None else bias)
    if outputs is None:
        return sums
    sums = _rounded(values, sums, outputs.scale, Codes(1.0, outputs.low, outputs.high))
    if bias is None:
        return sums
    shape = (-1,) + (1,) * (value_of(node).dim() - 2)
    return values.mb.add(x=sums, y=bias.reshape(shape))


def on_grid(values: Values, source: Any, codes: Codes) -> Any:
    """Write values rounded to codes of int8, or of uint8 where none is negative."""
    return _rounded(values, source, np.float32(codes.scale), codes)


def _rounded(values: Values, source: Any, scale: Any, codes: Codes) -> Any:
    if not codes.full:
        steps = scale.reshape((-1,) + (1,) * (source.rank - 2)) if np.ndim(scale) else scale
        for operator, code in (("maximum", codes.low), ("minimum", codes.high)):
            source = getattr(values.mb, operator)(x=source, y=steps * np.float32(code))
    how: dict[str, Any] = {"axis": 1} if np.ndim(scale) else {}
    dtype = "int8" if codes.signed else "uint8"
    rounded = values.mb.quantize(input=source, scale=scale, output_dtype=dtype, **how)
    return values.mb.dequantize(input=rounded, scale=scale, **how)


def _weight(values: Values, node: fx.Node, layer: QuantizedLayer | None) -> Any:
    if layer is None or layer.codes is None:
        weight = values.array(arguments_of(node)["weight"])
        if weight is None:
            raise unknown(node)
        return weight
    assert layer.scale is not None
    return values.mb.constexpr_affine_dequantize(
        quantized_data=layer.codes, zero_point=np.zeros(layer.scale.shape, np.int8),
        scale=layer.scale, axis=np.int32(layer.axis),
    )  # fmt: skip


def _linear(values: Values, node: fx.Node, source: Any, weight: Any, bias: Any) -> Any:
    how = {} if bias is None else {"bias": bias}
    return values.mb.linear(x=source, weight=weight, **how)


def _convolution(values: Values, node: fx.Node, source: Any, weight: Any, bias: Any) -> Any:
    given, dims = arguments_of(node), value_of(node).dim() - 2
    transposed = operator_name(node).startswith("conv_transpose")
    if dims not in (1, 2):
        raise unknown(node)
    padding = given["padding"]
    how: dict[str, Any] = {} if bias is None else {"bias": bias}
    how |= {"strides": spread(given["stride"], dims), "dilations": spread(given["dilation"], dims)}
    how |= {"groups": given["groups"]}
    if isinstance(padding, str):
        how["pad_type"] = padding
    else:
        sides = spread(padding, dims)
        how |= {"pad_type": "custom", "pad": [n for side in sides for n in (side, side)]}
    if not transposed:
        return values.mb.conv(x=source, weight=weight, **how)
    how["output_shape"] = [int(n) for n in value_of(node).shape]
    return values.mb.conv_transpose(x=source, weight=weight, **how)
