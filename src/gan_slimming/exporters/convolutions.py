"""Convolutions, transposed ones and linear layers, in float or in int8.

Quantisers stand on convolution inputs and weights alone. A quantiser moves in front of the pad that
feeds its convolution: padding copies values, or adds zeros, whose code is zero, so that is exact,
and the pad then moves bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from gan_slimming.exporters.emitter import Emitter
from gan_slimming.exporters.graph import InputCodes, QuantizedLayer, arguments_of
from gan_slimming.exporters.pads import behind_pads, write_pad
from gan_slimming.exporters.rewrites import rows_as_channels
from gan_slimming.exporters.widening import pad_axis
from gan_slimming.exporters.windows import (
    BLOCK,
    fits_blocks,
    grows_by_stride,
    has_integers,
    in_blocks,
    rows_to_split,
    spread,
    subpixel,
)
from gan_slimming.pruning.nodes import module_path, operator_name, value_of

LOWEST = float(np.finfo(np.float32).min)
MIDDLE = 64
"""Codes of 7 bits, so much higher, are 1 to 127: two products with signed bytes fit 16 bits."""
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
    whole = layer.codes is not None and layer.inputs is not None
    if whole and emitter.form == "integer" and has_integers(operator, window):
        return _integer(emitter, values, layer, bias, operator, window, path)
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
    if layer.inputs is None:
        read = emitter.value(source)
    else:
        base, pads = behind_pads(emitter, source)
        zero = emitter.constant(np.array(0, np.int8 if layer.inputs.signed else np.uint8), "zero")
        name, shuffle_how = emitter.shuffled.get(emitter.value(base), (emitter.value(base), {}))
        codes = quantize_input(emitter, name, layer.inputs, zero)
        scale = emitter.scalar(layer.inputs.scale)
        read = emitter.emit("DequantizeLinear", [codes, scale, zero])
        read = emitter.emit("DepthToSpace", [read], **shuffle_how) if shuffle_how else read
        for pad in pads:
            read = write_pad(emitter, read, pad)
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
        wide = emitter.widths.get(node)
        codes = pad_axis(codes, int(operator != "ConvTranspose"), emitter.widths.get(source))
        codes, scale = pad_axis(codes, 0, wide), pad_axis(scale, 0, wide, 1.0)
        bias = None if bias is None else pad_axis(bias, 0, wide)
        if (bias is None or not bias.any()) and _is_read_again(node):
            bias = np.full(scale.shape, NOTHING, np.float32)
        parts = [emitter.constant(codes, "codes"), emitter.constant(scale, "scale")]
        parts.append(emitter.constant(np.zeros(scale.shape, np.int8), "zero"))
        weight = emitter.emit("DequantizeLinear", parts, axis=axis)
    parts = [read, weight] + ([] if bias is None else [emitter.constant(bias, "bias")])
    return _shuffled(emitter, _operator(emitter, operator, parts, path, window), shuffle)


def _is_read_again(node: fx.Node) -> bool:
    """Whether several operators of the file read a layer's output.

    OpenVINO 2026 takes the scale of a layer without a bias behind its readers, and gets it wrong
    where there are several, as in y - mean(y) or cat(y, relu(y)). It does not go past a bias.
    """
    readers = list(node.users)
    return len(readers) > 1 or any(operator_name(r).strip("_") in SPELT_OUT for r in readers)


def _integer(
    emitter: Emitter, values: dict[str, Any], layer: QuantizedLayer, bias: np.ndarray | None,
    operator: str, window: dict[str, Any], path: str,
) -> str:  # fmt: skip
    """Integer sums of products of codes, exact; then one scale and one shift per channel.

    ONNX Runtime has quick kernels for an unsigned left side times a signed right one alone, and on
    CPUs without VNNI those add two products in 16 bits. Codes of up to 7 bits fit them on every
    CPU (`MIDDLE`); wider ones take the kernels for unsigned times unsigned, slower but exact.
    """
    assert layer.codes is not None
    assert layer.scale is not None
    assert layer.inputs is not None
    base, pads = behind_pads(emitter, values["input"])
    left = operator in ("Gemm", "MatMul")  # where the pictures stand; a convolution's are right
    narrow = int(np.abs(layer.codes.astype(np.int16)).max(initial=0)) < MIDDLE
    zero = emitter.constant(_zero_of(layer.inputs, unsigned=left or not narrow), "zero")
    name, shuffle_how = emitter.shuffled.get(emitter.value(base), (emitter.value(base), {}))
    read = quantize_input(emitter, name, layer.inputs, zero)
    if shuffle_how:
        planes = value_of(base).shape[1] * shuffle_how["blocksize"] ** 2
        read = emitter.shuffle_bytes(read, **shuffle_how, channels=planes)
    for pad in pads:
        read = write_pad(emitter, read, pad, zero)
    scale = layer.scale * np.float32(layer.inputs.scale)
    codes, dims, shuffle, axis = layer.codes, layer.codes.ndim - 2, 0, 1
    if left:
        axis = value_of(values["input"]).dim() - 1
        parts = [read, *_weight_codes(emitter, codes.T, 0 if narrow else 2 * MIDDLE, zero)]
        sums = emitter.emit("MatMulInteger", parts, path)
    else:
        if operator == "ConvTranspose":
            shuffle = window["strides"][0]
            codes, scale, bias, window = subpixel(codes, scale, bias, window)
        rows = rows_to_split(codes, window)
        if rows:
            codes, window = rows_as_channels(codes), {**window, "kernel_shape": [1, codes.shape[3]]}
        parts = [read, *_weight_codes(emitter, codes, MIDDLE if narrow else 2 * MIDDLE, zero)]
        sums = emitter.emit("ConvInteger", parts, path, **window)
        sums = _sum_of_rows(emitter, sums, rows, codes.shape[0] // rows) if rows else sums
    parts = [sums, emitter.constant(scale, "scale")]
    parts.append(emitter.constant(np.zeros(scale.shape, np.int32), "zero"))
    result = emitter.emit("DequantizeLinear", parts, axis=axis)
    if bias is not None:
        result = emitter.emit("Add", [result, _per_channel(emitter, bias, dims)])
    return _shuffled(emitter, result, shuffle)


def _zero_of(inputs: InputCodes, *, unsigned: bool) -> np.ndarray:
    """The zero point, in the type that the codes of a picture shall have."""
    if unsigned:
        return np.array(128 if inputs.signed else 0, np.uint8)
    return np.array(0 if inputs.signed else -128, np.int8)


def _weight_codes(emitter: Emitter, codes: np.ndarray, higher: int, zero: str) -> list[str]:
    """The last inputs of an integer operator: codes so much higher, both zero points."""
    raised = (codes.astype(np.int16) + higher).astype(np.uint8 if higher else np.int8)
    middle = emitter.constant(np.array(higher, raised.dtype), "zero")
    return [emitter.constant(raised, "codes"), zero, middle]


def _sum_of_rows(emitter: Emitter, name: str, rows: int, outputs: int) -> str:
    """The slices of `rows_as_channels`, each shifted to its place, added up."""
    axes, end, total = emitter.integers([1, 2]), 2**31 - 1, ""
    for row in range(rows):
        starts = emitter.integers([row * outputs, row])
        ends = emitter.integers([(row + 1) * outputs, row - rows + 1 or end])
        part = emitter.emit("Slice", [name, starts, ends, axes])
        total = emitter.emit("Add", [total, part]) if total else part
    return total


def _shuffled(emitter: Emitter, name: str, factor: int) -> str:
    """The phases of a subpixel convolution side by side, if it is one."""
    if not factor:
        return name
    return emitter.shuffle(name, factor, "DCR")


def quantize_input(emitter: Emitter, name: str, inputs: InputCodes, zero: str) -> str:
    """Codes of a value, of the type of `zero`; fewer than 8 bits are clipped first.

    A product with negative scales of channels is kept apart by a Max that changes nothing: OpenVINO
    would fold it into the quantiser, and computes nonsense then.
    """
    if name in emitter.turned and emitter.form == "qdq":
        name = emitter.emit("Max", [name, emitter.scalar(LOWEST)])
    full = (-128, 127) if inputs.signed else (0, 255)
    if (inputs.low, inputs.high) != full:
        limits = [emitter.scalar(code * inputs.scale) for code in (inputs.low, inputs.high)]
        name = emitter.emit("Clip", [name, *limits])
    return emitter.emit("QuantizeLinear", [name, emitter.scalar(inputs.scale), zero])


def _per_channel(emitter: Emitter, vector: np.ndarray, dims: int) -> str:
    """A vector that broadcasts along axis 1 of a tensor with `dims` spatial axes."""
    return emitter.constant(vector.astype(np.float32).reshape(-1, *[1] * dims), "channel")
