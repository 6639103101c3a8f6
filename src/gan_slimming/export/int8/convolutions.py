"""Convolutions, transposed convolutions and linear layers, in float or in int8.

Quantisers go in front of inputs and weights, and behind sums if training put them there. A
quantiser moves in front of its convolution's pad, which then moves bytes. That is exact: padding
copies values or adds zeros, whose code is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.int8.codes import apart, rounded, rounded_sums, shifted, shuffled
from gan_slimming.export.int8.integers import integer_layer
from gan_slimming.export.int8.pads import (
    behind_pads,
    pad_of,
    pads_behind,
    without_zero_pads,
    write_pad,
)
from gan_slimming.export.kernels.rewrites import lowered_sums
from gan_slimming.export.kernels.widening import pad_axis, widened
from gan_slimming.export.kernels.windows import (
    BLOCK,
    fits_blocks,
    has_integers,
    in_blocks,
    is_of_signals,
    is_subpixel,
    overhangs,
    phases,
    spread,
    subpixel,
)
from gan_slimming.export.trace.graph import arguments_of
from gan_slimming.export.trace.integers import Codes, QuantizedLayer
from gan_slimming.export.trace.tracing import sides_of
from gan_slimming.graph.nodes import module_path, operator_name, value_of
from gan_slimming.runtime.openvino_int8 import CODES

SMALLEST = 16
"""Height and width, in pixels, of the smallest image that int8 files are made for."""
NEGLIGIBLE_BIAS = 1e-37
"""A bias, in the layer's own units, that is too small to change an output."""
SPELT_OUT = frozenset({
    "gelu", "mish", "square", "var", "std", "layer_norm", "rms_norm", "linalg_vector_norm",
})  # fmt: skip
"""Operators that become several nodes, more than one of which reads the value."""


def convolution(emitter: Emitter, node: fx.Node) -> str:
    """Write aten.conv1d, conv2d or conv3d, with padding as numbers, 'same' or 'valid'."""
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
    """Write aten.conv_transpose; as convolution and shuffle if the runtime lacks it in int8."""
    values = arguments_of(node)
    dims = value_of(node).dim() - 2
    names = ("stride", "padding", "output_padding", "dilation")
    stride, padding, extra, dilation = (spread(values[name], dims) for name in names)
    kernel = list(value_of(values["weight"]).shape[2:])
    pixel = all(side.fixed and side.first == 1 for side in sides_of(values["input"])[2:])
    if pixel and not any(padding) and not any(extra):
        stride = kernel  # any stride suits one pixel, and this one multiplies no zeros
    window = {
        "strides": stride, "dilations": dilation, "pads": padding * 2,
        "output_padding": extra, "group": values["groups"], "kernel_shape": kernel,
    }  # fmt: skip
    return _write(emitter, node, values, "ConvTranspose", window)


def linear(emitter: Emitter, node: fx.Node) -> str:
    """Write aten.linear: a Gemm for vectors, else a matrix product along the last axis."""
    values = arguments_of(node)
    if value_of(values["input"]).dim() == 2:
        return _write(emitter, node, values, "Gemm", {"transB": 1})
    return _write(emitter, node, values, "MatMul", {})


def _write(
    emitter: Emitter, node: fx.Node, values: dict[str, Any], operator: str, window: dict[str, Any]
) -> str:
    """Write a layer in the form that the file uses."""
    path = module_path(node)
    layer = emitter.traced.layers.get(path)
    if operator == "Conv":
        values["input"], window = without_zero_pads(emitter, values["input"], window)
    if layer is None:
        return _in_float(emitter, node, values, operator, window, path)
    bias = None if node in emitter.traced.redundant_biases else emitter.array(values["bias"])
    wide = emitter.widths.get(node)
    layer = widened(layer, emitter.widths.get(values["input"]), wide)
    bias = None if bias is None else pad_axis(bias, 0, wide)
    whole = layer.codes is not None and layer.inputs is not None
    if whole and emitter.quantization == "integer" and has_integers(operator, window):
        return integer_layer(emitter, values, layer, bias, operator, window, path)
    if emitter.quantization == "integer":
        emitter.float_layers.append(path)
    return _dequantized(emitter, node, values, layer, bias, operator, window, path)


def _in_float(
    emitter: Emitter, node: fx.Node, values: dict[str, Any], operator: str, window: dict[str, Any],
    path: str,
) -> str:  # fmt: skip
    """Write a layer in float; its weight and bias may be computed."""
    operands, bias = [emitter.value(values["input"])], values["bias"]
    operands.append(_weight(emitter, values["weight"], operator))
    if bias is not None and node not in emitter.traced.redundant_biases:
        array = emitter.traced.tensors.get(bias)
        operands.append(emitter.value(bias) if array is None else emitter.constant(array, "bias"))
    return _operator(emitter, operator, operands, path, window)


def _weight(emitter: Emitter, weight: fx.Node, operator: str) -> str:
    """Write a weight in float; transposed for a matrix product, which reads (inputs, outputs)."""
    array = emitter.traced.tensors.get(weight)
    if operator == "MatMul":
        if array is None:
            return emitter.emit("Transpose", [emitter.value(weight)])
        return emitter.constant(array.T, "weight")
    if operator == "ConvTranspose" and array is not None:
        return emitter.constant(array, weight.name, operator)
    return emitter.value(weight)


def _operator(
    emitter: Emitter, operator: str, operands: list[str], path: str, window: dict[str, Any]
) -> str:
    """Write an operator on input, weight and optional bias; MatMul needs an Add for its bias."""
    if operator != "MatMul" or len(operands) == 2:
        return emitter.emit(operator, operands, path, **window)
    return emitter.emit("Add", [emitter.emit(operator, operands[:2], path), operands[2]])


@dataclass(frozen=True)
class _Kernel:
    """A layer's integers in OpenVINO's fastest form, and the steps behind the operator.

    Attributes:
        codes, scale, axis: of the weight.
        shuffle: factor of the depth-to-space behind the operator; 0 for none.
        crop: rows and columns, or samples of a signal, to cut off after the shuffle.
    """

    operator: str
    window: dict[str, Any]
    codes: np.ndarray
    scale: np.ndarray
    axis: int
    bias: np.ndarray | None
    shuffle: int = 0
    crop: Sequence[int] = (0, 0)


def _dequantized(
    emitter: Emitter, node: fx.Node, values: dict[str, Any], layer: QuantizedLayer,
    bias: np.ndarray | None, operator: str, window: dict[str, Any], path: str,
) -> str:  # fmt: skip
    """Write a float operator on dequantised inputs, which the runtime turns into int8."""
    source, inputs, outputs = values["input"], layer.inputs, layer.outputs
    if layer.codes is None or layer.scale is None:
        value = emitter.value(source) if inputs is None else _read(emitter, source, inputs)
        operands = [value, _weight(emitter, values["weight"], operator)]
        operands += [] if bias is None else [emitter.constant(bias, "bias")]
        return _operator(emitter, operator, operands, path, window)
    kernel = _kernel(emitter, node, layer, bias, operator, window)
    raised = inputs is not None and inputs.signed and _can_be_raised(kernel, source)
    sums = None
    if inputs is not None and raised:
        sums = lowered_sums(kernel.codes, kernel.scale, inputs.low, inputs.scale)
        sums = sums.astype(np.float32)
    bias = kernel.bias
    if outputs is None and bias is not None:
        sums, bias = bias if sums is None else sums + bias, None
    if outputs is None and _is_read_again(node) and (sums is None or not sums.any()):
        sums = np.full(kernel.scale.shape, NEGLIGIBLE_BIAS, np.float32)
    value = emitter.value(source) if inputs is None else _read(emitter, source, inputs, raised)
    operands = [value, _dequantized_weight(emitter, kernel, path)]
    operands += [] if sums is None else [emitter.constant(sums, "bias")]
    result = _operator(emitter, kernel.operator, operands, path, kernel.window)
    if outputs is not None:
        dims = value_of(node).dim() - 2
        if _can_be_one_pixel(emitter, node, kernel):
            result = apart(emitter, result)
        result = rounded_sums(emitter, result, outputs.tiled(kernel.shuffle), dims)
        result = shifted(emitter, result, bias, dims)
    return shuffled(emitter, result, kernel.shuffle, kernel.crop, kernel.scale.size)


def _kernel(
    emitter: Emitter, node: fx.Node, layer: QuantizedLayer, bias: np.ndarray | None, operator: str,
    window: dict[str, Any],
) -> _Kernel:  # fmt: skip
    """Return the rewrite that OpenVINO computes fastest, or in int8 at all."""
    codes, scale = layer.codes, layer.scale
    assert codes is not None
    assert scale is not None
    if operator == "MatMul":
        return _Kernel(operator, window, codes.T, scale, 1, bias)
    if operator == "ConvTranspose" and is_subpixel(window):
        shuffle, (_, crop) = window["strides"][0], overhangs(window)
        codes, scale, bias, window = subpixel(codes, scale, bias, window)
        return _Kernel("Conv", window, codes, scale, 0, bias, shuffle, crop)
    if operator == "ConvTranspose" and codes.ndim == 3 and is_of_signals(window):
        shuffle = window["strides"][0]
        codes, scale, bias, window, crop = phases(codes, scale, bias, window)
        return _Kernel("Conv", window, codes, scale, 0, bias, shuffle, (crop,))
    if operator == "Conv" and fits_blocks(emitter.traced, node, codes, window):
        codes, scale, bias, window = in_blocks(codes, scale, bias, window)
        return _Kernel("Conv", window, codes, scale, 0, bias, BLOCK)
    return _Kernel(operator, window, codes, scale, layer.axis, bias)


def _dequantized_weight(emitter: Emitter, kernel: _Kernel, path: str) -> str:
    """Write a weight as codes; their name keeps the layer's path, whatever OpenVINO fuses."""
    operands = [
        emitter.constant(kernel.codes, f"{path}{CODES}", path),
        emitter.constant(kernel.scale, "scale"),
    ]
    operands.append(emitter.constant(np.zeros(kernel.scale.shape, np.int8), "zero"))
    return emitter.emit("DequantizeLinear", operands, axis=kernel.axis)


def _can_be_raised(kernel: _Kernel, source: fx.Node) -> bool:
    """Return whether a layer's inputs may be raised so far that they need no zero point.

    OpenVINO 2026 loses zero points behind a concatenation and a pad. Raised inputs have none, and
    their share of the sums goes into the bias. Padded zeros would have to be raised as well.
    """
    copied = all(pad_of(pad)[0] != "constant" for pad in pads_behind(source))
    return kernel.operator == "Conv" and copied and not any(kernel.window.get("pads", ()))


def _can_be_one_pixel(emitter: Emitter, node: fx.Node, kernel: _Kernel) -> bool:
    """Return whether the smallest image, of SMALLEST pixels or one step, is one pixel here.

    OpenVINO 2026 mixes up the channels' scales where it rounds the sums of one pixel.
    """
    least = max(SMALLEST, emitter.traced.step)
    shrunk = least / emitter.traced.sides[0].first if emitter.traced.sides else 1.0
    cells = max(kernel.shuffle, 1)
    return all(side.first * (1.0 if side.fixed else shrunk) <= cells for side in sides_of(node)[2:])


def _read(emitter: Emitter, source: fx.Node, inputs: Codes, raised: bool = False) -> str:
    """Write a layer's input on its grid; pads and shuffles come behind, as they only move values.

    A quantiser with a zero point stays behind a shuffle: in front, OpenVINO 2026 loses the zero
    point on some CPUs.
    """
    base, pads = behind_pads(emitter, source)
    name = emitter.value(base)
    moves = name in emitter.shuffled and (raised or not inputs.signed)
    name, how = emitter.shuffled[name] if moves else (name, {})
    activations = rounded(emitter, name, inputs, raised=raised)
    activations = emitter.emit("DepthToSpace", [activations], **how) if moves else activations
    for pad in pads:
        activations = write_pad(emitter, activations, pad)
    return activations


def _is_read_again(node: fx.Node) -> bool:
    """Return whether several operators of the file read a layer's output.

    OpenVINO 2026 moves the scale of a layer without a bias behind its readers. It gets that wrong
    with several, as in y - mean(y) or cat(y, relu(y)). It does not move a scale past a bias.
    """
    readers = list(node.users)
    return len(readers) > 1 or any(operator_name(r).strip("_") in SPELT_OUT for r in readers)
