"""Convolutions, transposed ones and linear layers, in float or in int8.

Quantisers stand on convolution inputs and weights, and on sums where that was trained. A quantiser
moves in front of the pad that feeds its convolution: padding copies values, or adds zeros, whose
code is zero, so that is exact, and the pad then moves bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from gan_slimming.exporters.codes import rounded, rounded_sums, shifted, shuffled
from gan_slimming.exporters.emitter import Emitter
from gan_slimming.exporters.graph import Codes, QuantizedLayer, arguments_of
from gan_slimming.exporters.integers import integer_layer
from gan_slimming.exporters.pads import behind_pads, write_pad
from gan_slimming.exporters.widening import pad_axis, widened
from gan_slimming.exporters.windows import (
    BLOCK,
    fits_blocks,
    grows_by_stride,
    has_integers,
    in_blocks,
    spread,
    subpixel,
)
from gan_slimming.pruning.nodes import module_path, operator_name, value_of

NOTHING = 1e-37
"""A bias that changes no number."""
SPELT_OUT = frozenset({
    "gelu", "mish", "square", "var", "std", "layer_norm", "rms_norm", "linalg_vector_norm",
})  # fmt: skip
"""Operators that are written as several, of which more than one reads the value."""


def convolution(emitter: Emitter, node: fx.Node) -> str:
    """aten.conv1d, conv2d, conv3d with numbers or 'same' and 'valid' for padding."""
    values = arguments_of(node)
    dims = value_of(node).dim() - 2
    stride, dilation = (spread(values[name], dims) for name in ("stride", "dilation"))
    kernel = value_of(values["weight"]).shape[2:]
    padding = values["padding"]
    if padding == "valid":
        pads = [0] * (2 * dims)
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = [t // 2 for t in total] + [t - t // 2 for t in total]
    else:
        pads = spread(padding, dims) * 2
    window = {
        "strides": stride, "dilations": dilation, "pads": pads, "group": values["groups"],
        "kernel_shape": list(kernel),
    }  # fmt: skip
    return _write(emitter, node, values, "Conv", window)


def transposed_convolution(emitter: Emitter, node: fx.Node) -> str:
    """aten.conv_transpose2d; where the runtime has none in int8, as convolution and shuffle."""
    values = arguments_of(node)
    dims = value_of(node).dim() - 2
    names = ("stride", "padding", "output_padding", "dilation")
    stride, padding, extra, dilation = (spread(values[name], dims) for name in names)
    window = {
        "strides": stride, "dilations": dilation, "pads": padding * 2,
        "output_padding": extra, "group": values["groups"],
        "kernel_shape": list(value_of(values["weight"]).shape[2:]),
    }  # fmt: skip
    return _write(emitter, node, values, "ConvTranspose", window)


def linear(emitter: Emitter, node: fx.Node) -> str:
    """aten.linear: on vectors a Gemm, on the last of more axes a product of matrices."""
    values = arguments_of(node)
    if value_of(values["input"]).dim() == 2:
        return _write(emitter, node, values, "Gemm", {"transB": 1})
    return _write(emitter, node, values, "MatMul", {})


def _write(
    emitter: Emitter, node: fx.Node, values: dict[str, Any], operator: str, window: dict[str, Any]
) -> str:
    """The layer in the form that the file has."""
    path = module_path(node)
    layer = emitter.traced.layers.get(path)
    if layer is None:
        return _in_float(emitter, node, values, operator, window, path)
    bias = None if node in emitter.traced.lost else emitter.array(values["bias"])
    wide = emitter.widths.get(node)
    layer = widened(layer, emitter.widths.get(values["input"]), wide)
    bias = None if bias is None else pad_axis(bias, 0, wide)
    whole = layer.codes is not None and layer.inputs is not None
    if whole and emitter.form == "integer" and has_integers(operator, window):
        return integer_layer(emitter, values, layer, bias, operator, window, path)
    if emitter.form == "integer":
        emitter.float_layers.append(path)
    return _dequantized(emitter, node, values, layer, bias, operator, window, path)


def _in_float(
    emitter: Emitter, node: fx.Node, values: dict[str, Any], operator: str, window: dict[str, Any],
    path: str,
) -> str:  # fmt: skip
    """The layer as it is; its weight and bias may be computed."""
    parts, bias = [emitter.value(values["input"])], values["bias"]
    parts.append(_weight(emitter, values["weight"], operator))
    if bias is not None and node not in emitter.traced.lost:
        held = emitter.traced.tensors.get(bias)
        parts.append(emitter.value(bias) if held is None else emitter.constant(held, "bias"))
    return _operator(emitter, operator, parts, path, window)


def _weight(emitter: Emitter, weight: fx.Node, operator: str) -> str:
    """A weight in float; a matrix product reads it by inputs, where torch has it by outputs."""
    held = emitter.traced.tensors.get(weight)
    if operator == "MatMul":
        if held is None:
            return emitter.emit("Transpose", [emitter.value(weight)])
        return emitter.constant(held.T, "weight")
    if operator == "ConvTranspose" and held is not None:
        return emitter.constant(held, weight.name, operator)
    return emitter.value(weight)


def _operator(
    emitter: Emitter, operator: str, parts: list[str], path: str, window: dict[str, Any]
) -> str:
    """An operator of input, weight and perhaps bias; a matrix product takes no bias."""
    if operator != "MatMul" or len(parts) == 2:
        return emitter.emit(operator, parts, path, **window)
    return emitter.emit("Add", [emitter.emit(operator, parts[:2], path), parts[2]])


def _dequantized(
    emitter: Emitter, node: fx.Node, values: dict[str, Any], layer: QuantizedLayer,
    bias: np.ndarray | None, operator: str, window: dict[str, Any], path: str,
) -> str:  # fmt: skip
    """DequantizeLinear on both inputs of a float operator; the runtime makes it int8."""
    source = values["input"]
    read = emitter.value(source) if layer.inputs is None else _read(emitter, source, layer.inputs)
    weight, shuffle = _weight(emitter, values["weight"], operator), 0
    if layer.codes is not None and layer.scale is not None:
        codes, scale, axis = layer.codes, layer.scale, layer.axis
        if operator == "MatMul":
            codes, axis = codes.T, 1
        if operator == "ConvTranspose" and grows_by_stride(window):
            shuffle, operator, axis = window["strides"][0], "Conv", 0
            codes, scale, bias, window = subpixel(codes, scale, bias, window)
        elif operator == "Conv" and fits_blocks(emitter.traced, node, codes, window):
            shuffle = BLOCK
            codes, scale, bias, window = in_blocks(codes, scale, bias, window)
        if layer.outputs is None and (bias is None or not bias.any()) and _is_read_again(node):
            bias = np.full(scale.shape, NOTHING, np.float32)
        parts = [emitter.constant(codes, "codes"), emitter.constant(scale, "scale")]
        parts.append(emitter.constant(np.zeros(scale.shape, np.int8), "zero"))
        weight = emitter.emit("DequantizeLinear", parts, axis=axis)
    parts = [read, weight]
    if layer.outputs is not None:
        made, dims = _operator(emitter, operator, parts, path, window), value_of(node).dim() - 2
        made = rounded_sums(emitter, made, layer.outputs.tiled(shuffle), dims)
        made = shifted(emitter, made, bias, dims)
    else:
        parts += [] if bias is None else [emitter.constant(bias, "bias")]
        made = _operator(emitter, operator, parts, path, window)
    return shuffled(emitter, made, shuffle)


def _read(emitter: Emitter, source: fx.Node, inputs: Codes) -> str:
    """A layer's input on its grid; what only moves values, pad or shuffle, comes behind."""
    base, pads = behind_pads(emitter, source)
    name, shuffle_how = emitter.shuffled.get(emitter.value(base), (emitter.value(base), {}))
    read = rounded(emitter, name, inputs)
    read = emitter.emit("DepthToSpace", [read], **shuffle_how) if shuffle_how else read
    for pad in pads:
        read = write_pad(emitter, read, pad)
    return read


def _is_read_again(node: fx.Node) -> bool:
    """Whether several operators of the file read a layer's output.

    OpenVINO 2026 takes the scale of a layer without a bias behind its readers, and gets it wrong
    where there are several, as in y - mean(y) or cat(y, relu(y)). It does not go past a bias.
    """
    readers = list(node.users)
    return len(readers) > 1 or any(operator_name(r).strip("_") in SPELT_OUT for r in readers)
