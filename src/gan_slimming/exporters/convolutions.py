"""Convolutions, transposed ones and linear layers, in float or in int8.

Quantisers stand on convolution inputs and weights alone. A quantiser moves in front of the pad that
feeds its convolution: padding copies values, or adds zeros, whose code is zero, so that is exact,
and the pad then moves bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx

from gan_slimming.exporters.emitter import Emitter
from gan_slimming.exporters.graph import InputCodes, QuantizedLayer, arguments_of, unknown
from gan_slimming.exporters.pads import behind_pads, write_pad
from gan_slimming.exporters.rewrites import (
    blocks_as_channels,
    fits_subpixel,
    rows_as_channels,
    subpixel_convolution,
)
from gan_slimming.exporters.widening import pad_axis
from gan_slimming.pruning.nodes import module_path, value_of

BLOCK = 2
"""Rows and columns that a layer with few outputs computes at once."""
FEW_OUTPUTS = 4
"""BLOCK**2 times so many still fit the 16 that the widest CPUs compute side by side."""


def convolution(emitter: Emitter, node: fx.Node) -> str:
    """aten.conv1d, conv2d, conv3d with numbers or 'same' and 'valid' for padding."""
    values = arguments_of(node)
    dims = value_of(node).dim() - 2
    stride, dilation = (_spread(values[name], dims) for name in ("stride", "dilation"))
    kernel = value_of(values["weight"]).shape[2:]
    padding = values["padding"]
    if padding == "valid":
        pads = [0] * (2 * dims)
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        pads = [t // 2 for t in total] + [t - t // 2 for t in total]
    else:
        pads = _spread(padding, dims) * 2
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
    stride, padding, extra, dilation = (_spread(values[name], dims) for name in names)
    window = {
        "strides": stride, "dilations": dilation, "pads": padding * 2,
        "output_padding": extra, "group": values["groups"],
        "kernel_shape": list(value_of(values["weight"]).shape[2:]),
    }  # fmt: skip
    return _write(emitter, node, values, "ConvTranspose", window)


def linear(emitter: Emitter, node: fx.Node) -> str:
    """aten.linear on vectors."""
    values = arguments_of(node)
    if value_of(values["input"]).dim() != 2:
        raise unknown(node)
    return _write(emitter, node, values, "Gemm", {"transB": 1})


def _write(
    emitter: Emitter, node: fx.Node, values: dict[str, Any], operator: str, window: dict[str, Any]
) -> str:
    """The layer in the form that the file has."""
    path = module_path(node)
    layer = emitter.traced.layers.get(path)
    bias = None if node in emitter.traced.lost else emitter.array(values["bias"])
    if layer is None:
        parts = [emitter.value(values["input"]), emitter.value(values["weight"])]
        parts += [] if bias is None else [emitter.constant(bias, "bias")]
        return emitter.emit(operator, parts, path, **window)
    whole = layer.codes is not None and layer.inputs is not None
    if whole and emitter.form == "integer" and _has_integers(operator, window):
        return _integer(emitter, values, layer, bias, operator, window, path)
    if emitter.form == "integer":
        emitter.float_layers.append(path)
    return _dequantized(emitter, node, values, layer, bias, operator, window, path)


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
    weight, shuffle = emitter.value(values["weight"]), 0
    if layer.codes is not None and layer.scale is not None:
        codes, scale, axis = layer.codes, layer.scale, layer.axis
        if operator == "ConvTranspose" and _grows_by_stride(window):
            shuffle, operator, axis = window["strides"][0], "Conv", 0
            codes, scale, bias, window = _subpixel(codes, scale, bias, window)
        elif operator == "Conv" and _fits_blocks(emitter, node, codes, window):
            shuffle = BLOCK
            codes, scale, bias, window = _in_blocks(codes, scale, bias, window)
        wide = emitter.widths.get(node)
        codes = pad_axis(codes, int(operator != "ConvTranspose"), emitter.widths.get(source))
        codes, scale = pad_axis(codes, 0, wide), pad_axis(scale, 0, wide, 1.0)
        bias = None if bias is None else pad_axis(bias, 0, wide)
        parts = [emitter.constant(codes, "codes"), emitter.constant(scale, "scale")]
        parts.append(emitter.constant(np.zeros(scale.shape, np.int8), "zero"))
        weight = emitter.emit("DequantizeLinear", parts, axis=axis)
    parts = [read, weight] + ([] if bias is None else [emitter.constant(bias, "bias")])
    return _shuffled(emitter, emitter.emit(operator, parts, path, **window), shuffle)


def _integer(
    emitter: Emitter, values: dict[str, Any], layer: QuantizedLayer, bias: np.ndarray | None,
    operator: str, window: dict[str, Any], path: str,
) -> str:  # fmt: skip
    """Integer sums of products of codes, exact; then one scale and one shift per channel.

    ONNX Runtime multiplies the weights, on its left, with the pictures, on its right, and has quick
    kernels for unsigned times signed alone: so the weights' codes are stored 128 higher, and the
    pictures' 128 lower where they are unsigned, with that as zero point.
    """
    assert layer.codes is not None
    assert layer.scale is not None
    assert layer.inputs is not None
    base, pads = behind_pads(emitter, values["input"])
    zero = emitter.constant(np.array(0 if layer.inputs.signed else -128, np.int8), "zero")
    name, shuffle_how = emitter.shuffled.get(emitter.value(base), (emitter.value(base), {}))
    read = quantize_input(emitter, name, layer.inputs, zero)
    if shuffle_how:
        planes = value_of(base).shape[1] * shuffle_how["blocksize"] ** 2
        read = emitter.shuffle_bytes(read, **shuffle_how, channels=planes)
    for pad in pads:
        read = write_pad(emitter, read, pad, zero)
    middle = emitter.constant(np.array(128, np.uint8), "zero")
    scale = layer.scale * np.float32(layer.inputs.scale)
    codes, dims, shuffle = layer.codes, layer.codes.ndim - 2, 0
    if operator == "Gemm":
        parts = [read, emitter.constant(codes.T, "codes"), zero]
        sums = emitter.emit("MatMulInteger", parts, path)
    else:
        if operator == "ConvTranspose":
            shuffle = window["strides"][0]
            codes, scale, bias, window = _subpixel(codes, scale, bias, window)
        rows = _rows_to_split(codes, window)
        if rows:
            codes, window = rows_as_channels(codes), {**window, "kernel_shape": [1, codes.shape[3]]}
        raised = (codes.astype(np.int16) + 128).astype(np.uint8)
        parts = [read, emitter.constant(raised, "codes"), zero, middle]
        sums = emitter.emit("ConvInteger", parts, path, **window)
        sums = _sum_of_rows(emitter, sums, rows, codes.shape[0] // rows) if rows else sums
    parts = [sums, emitter.constant(scale, "scale")]
    parts.append(emitter.constant(np.zeros(scale.shape, np.int32), "zero"))
    result = emitter.emit("DequantizeLinear", parts, axis=1)
    if bias is not None:
        result = emitter.emit("Add", [result, _per_channel(emitter, bias, dims)])
    return _shuffled(emitter, result, shuffle)


def _rows_to_split(codes: np.ndarray, window: dict[str, Any]) -> int:
    """Rows of a kernel that ONNX Runtime had better sum itself, 0 for none.

    It copies the picture in * height * width times in front of its multiplication; where few
    channels come out, as in the last layer, that is most of the work.
    """
    outputs, inputs, height, width = codes.shape
    plain = {*window.get("strides", [1]), *window.get("dilations", [1]), window.get("group", 1)}
    return height if plain == {1} and height > 1 and 8 * outputs <= inputs * width else 0


def _sum_of_rows(emitter: Emitter, name: str, rows: int, outputs: int) -> str:
    """The slices of `rows_as_channels`, each shifted to its place, added up."""
    axes, end, total = emitter.integers([1, 2]), 2**31 - 1, ""
    for row in range(rows):
        starts = emitter.integers([row * outputs, row])
        ends = emitter.integers([(row + 1) * outputs, row - rows + 1 or end])
        part = emitter.emit("Slice", [name, starts, ends, axes])
        total = emitter.emit("Add", [total, part]) if total else part
    return total


def _fits_blocks(
    emitter: Emitter, node: fx.Node, codes: np.ndarray, window: dict[str, Any]
) -> bool:
    """Whether a convolution had better compute blocks: few outputs, and always whole blocks."""
    plain = {*window["strides"], *window["dilations"], window["group"]} == {1}
    few = codes.ndim == 4 and codes.shape[0] <= FEW_OUTPUTS and min(codes.shape[2:]) > 1
    made, given = value_of(node).shape[2:], emitter.traced.sides
    whole = len(made) == len(given) == 2
    whole = whole and all(m % g == 0 for m, g in zip(made, given, strict=True))
    return plain and few and whole and emitter.traced.step % BLOCK == 0


def _in_blocks(
    codes: np.ndarray, scale: np.ndarray, bias: np.ndarray | None, window: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Weights, vectors and window of the convolution that computes BLOCK x BLOCK pixels at once."""
    spread = blocks_as_channels(codes, BLOCK)
    shape = {"strides": [BLOCK, BLOCK], "kernel_shape": list(spread.shape[2:])}
    tiled = None if bias is None else np.tile(bias, BLOCK**2)
    return spread, np.tile(scale, BLOCK**2), tiled, {**window, **shape}


def _subpixel(
    codes: np.ndarray, scale: np.ndarray, bias: np.ndarray | None, window: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Weights, vectors and window of the convolution that stands for a transposed one.

    ONNX has no transposed convolution on integers.
    """
    factor, padding = window["strides"][0], tuple(window["pads"][:2])
    spread, pads = subpixel_convolution(codes, factor, padding)
    tiled = None if bias is None else np.tile(bias, factor**2)
    shape = {"pads": list(pads), "kernel_shape": list(spread.shape[2:])}
    return spread, np.tile(scale, factor**2), tiled, shape


def _shuffled(emitter: Emitter, name: str, factor: int) -> str:
    """The phases of a subpixel convolution side by side, if it is one."""
    if not factor:
        return name
    return emitter.shuffle(name, factor, "DCR")


def _has_integers(operator: str, window: dict[str, Any]) -> bool:
    """Whether ONNX has the operator on integers, or a rewrite to one."""
    if operator == "ConvTranspose":
        return _grows_by_stride(window)
    return operator == "Gemm" or len(window["kernel_shape"]) == 2


def _grows_by_stride(window: dict[str, Any]) -> bool:
    """Whether a transposed convolution can be written as a subpixel one."""
    sides = [window[n] for n in ("kernel_shape", "strides", "pads", "output_padding")]
    if window["group"] != 1 or len(sides[0]) != 2 or set(window["dilations"]) != {1}:
        return False
    kernel, stride, pads, extra = [(int(side[0]), int(side[1])) for side in sides]
    return fits_subpixel(kernel, stride, pads, extra)


def quantize_input(emitter: Emitter, name: str, inputs: InputCodes, zero: str) -> str:
    """Codes of a value, of the type of `zero`; fewer than 8 bits are clipped first."""
    full = (-128, 127) if inputs.signed else (0, 255)
    if (inputs.low, inputs.high) != full:
        limits = [emitter.scalar(code * inputs.scale) for code in (inputs.low, inputs.high)]
        name = emitter.emit("Clip", [name, *limits])
    return emitter.emit("QuantizeLinear", [name, emitter.scalar(inputs.scale), zero])


def _per_channel(emitter: Emitter, vector: np.ndarray, dims: int) -> str:
    """A vector that broadcasts along axis 1 of a tensor with `dims` spatial axes."""
    return emitter.constant(vector.astype(np.float32).reshape(-1, *[1] * dims), "channel")


def _spread(value: Any, dims: int) -> list[int]:
    """One number or a list of them, as a list of `dims`."""
    found: Sequence[int] = value if isinstance(value, Sequence) else [value]
    return list(found) * dims if len(found) == 1 else list(found)
