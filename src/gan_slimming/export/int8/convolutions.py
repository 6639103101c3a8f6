"""Convolutions, transposed ones and linear layers, in float or in int8.

Quantisers stand on convolution inputs and weights, and on sums where that was trained. A quantiser
moves in front of the pad that inputs its convolution: padding copies values, or adds zeros, whose
code is zero, so that is exact, and the pad then moves bytes.
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
    is_subpixel,
    overhangs,
    spread,
    subpixel,
)
from gan_slimming.export.trace.graph import Codes, QuantizedLayer, arguments_of
from gan_slimming.export.trace.tracing import sides_of
from gan_slimming.graph.nodes import module_path, operator_name, value_of
from gan_slimming.runtime.openvino_int8 import CODES

SMALLEST = 16
"""Height and width in pixels of the smallest image that int8 files are made for."""
NEGLIGIBLE_BIAS = 1e-37
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
    kernel = list(value_of(values["weight"]).shape[2:])
    pixel = all(side.fixed and side.first == 1 for side in sides_of(values["input"])[2:])
    if pixel and not any(padding) and not any(extra):
        stride = kernel  # of one pixel any stride makes the same, and this one multiplies no zeros
    window = {
        "strides": stride, "dilations": dilation, "pads": padding * 2,
        "output_padding": extra, "group": values["groups"], "kernel_shape": kernel,
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
    """The layer as it is; its weight and bias may be computed."""
    parts, bias = [emitter.value(values["input"])], values["bias"]
    parts.append(_weight(emitter, values["weight"], operator))
    if bias is not None and node not in emitter.traced.redundant_biases:
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


@dataclass(frozen=True)
class _Kernel:
    """A layer's integers as OpenVINO has them quickest, and what comes behind the operator.

    Attributes:
        codes, scale, axis: of the weight.
        shuffle: factor of the depth-to-space behind; 0 for none.
        crop: rows and columns to cut off behind that.
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
    """DequantizeLinear on both inputs of a float operator; the runtime makes it int8."""
    source, inputs, outputs = values["input"], layer.inputs, layer.outputs
    if layer.codes is None or layer.scale is None:
        read = emitter.value(source) if inputs is None else _read(emitter, source, inputs)
        parts = [read, _weight(emitter, values["weight"], operator)]
        parts += [] if bias is None else [emitter.constant(bias, "bias")]
        return _operator(emitter, operator, parts, path, window)
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
    read = emitter.value(source) if inputs is None else _read(emitter, source, inputs, raised)
    parts = [read, _dequantized_weight(emitter, kernel, path)]
    parts += [] if sums is None else [emitter.constant(sums, "bias")]
    made = _operator(emitter, kernel.operator, parts, path, kernel.window)
    if outputs is not None:
        dims = value_of(node).dim() - 2
        if _can_be_one_pixel(emitter, node, kernel):
            made = apart(emitter, made)
        made = rounded_sums(emitter, made, outputs.tiled(kernel.shuffle), dims)
        made = shifted(emitter, made, bias, dims)
    return shuffled(emitter, made, kernel.shuffle, kernel.crop)


def _kernel(
    emitter: Emitter, node: fx.Node, layer: QuantizedLayer, bias: np.ndarray | None, operator: str,
    window: dict[str, Any],
) -> _Kernel:  # fmt: skip
    """The rewrite that OpenVINO computes quickest, or in int8 at all."""
    codes, scale = layer.codes, layer.scale
    assert codes is not None
    assert scale is not None
    if operator == "MatMul":
        return _Kernel(operator, window, codes.T, scale, 1, bias)
    if operator == "ConvTranspose" and is_subpixel(window):
        shuffle, (_, crop) = window["strides"][0], overhangs(window)
        codes, scale, bias, window = subpixel(codes, scale, bias, window)
        return _Kernel("Conv", window, codes, scale, 0, bias, shuffle, crop)
    if operator == "Conv" and fits_blocks(emitter.traced, node, codes, window):
        codes, scale, bias, window = in_blocks(codes, scale, bias, window)
        return _Kernel("Conv", window, codes, scale, 0, bias, BLOCK)
    return _Kernel(operator, window, codes, scale, layer.axis, bias)


def _dequantized_weight(emitter: Emitter, kernel: _Kernel, path: str) -> str:
    """Return a weight of codes; their name tells whose they are, whatever OpenVINO fuses."""
    parts = [
        emitter.constant(kernel.codes, f"{path}{CODES}", path),
        emitter.constant(kernel.scale, "scale"),
    ]
    parts.append(emitter.constant(np.zeros(kernel.scale.shape, np.int8), "zero"))
    return emitter.emit("DequantizeLinear", parts, axis=kernel.axis)


def _can_be_raised(kernel: _Kernel, source: fx.Node) -> bool:
    """Whether a layer's inputs may be so much higher that they need no zero point.

    OpenVINO 2026 loses zero points behind a concatenation and a pad. Raised inputs have none, and
    what they add to the sums goes into the bias; but zeros that are padded would have to be raised
    as well.
    """
    copied = all(pad_of(pad)[0] != "constant" for pad in pads_behind(source))
    return kernel.operator == "Conv" and copied and not any(kernel.window.get("pads", ()))


def _can_be_one_pixel(emitter: Emitter, node: fx.Node, kernel: _Kernel) -> bool:
    """Whether an image of SMALLEST pixels, or the least that is taken, is one pixel here.

    OpenVINO 2026 mixes up the scales of channels where it rounds the sums of one pixel.
    """
    least = max(SMALLEST, emitter.traced.step)
    shrunk = least / emitter.traced.sides[0].first if emitter.traced.sides else 1.0
    cells = max(kernel.shuffle, 1)
    return all(side.first * (1.0 if side.fixed else shrunk) <= cells for side in sides_of(node)[2:])


def _read(emitter: Emitter, source: fx.Node, inputs: Codes, raised: bool = False) -> str:
    """A layer's input on its grid; what only moves values, pad or shuffle, comes behind.

    A zero point stays behind a shuffle: OpenVINO 2026 loses it there on some CPUs.
    """
    base, pads = behind_pads(emitter, source)
    name = emitter.value(base)
    moves = name in emitter.shuffled and (raised or not inputs.signed)
    name, how = emitter.shuffled[name] if moves else (name, {})
    read = rounded(emitter, name, inputs, raised=raised)
    read = emitter.emit("DepthToSpace", [read], **how) if moves else read
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
