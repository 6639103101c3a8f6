"""Convolutions and linear layers, in int8 on the grids of training where XNNPACK has that.

XNNPACK has two kinds of int8 layers. One writes codes: a layer that rounds its own sums becomes
that one. The other writes floats, but takes the range of its input from the input itself. One row
more, or two columns of a linear layer, with the ends of the trained range makes that range the
trained one. What the row adds is cut off again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from gan_slimming.export.tflite.emitter import Emitter, unknown
from gan_slimming.export.tflite.pads import (
    COLUMNS,
    ROWS,
    ZEROS,
    below,
    padded,
    zero_line,
)
from gan_slimming.export.tflite.windows import SAME, VALID, Window, window_of
from gan_slimming.export.trace.graph import arguments_of
from gan_slimming.export.trace.integers import Codes, OutputCodes, QuantizedLayer
from gan_slimming.export.xnnpack.int8 import HIGH, LOW
from gan_slimming.export.xnnpack.pads import Pads, pads_of
from gan_slimming.graph.nodes import module_path, operator_name, value_of

_BYTES = Codes(1.0, LOW, HIGH)
_LAYERS = ("conv2d", "conv_transpose2d", "linear")


def write_layer(emitter: Emitter, node: fx.Node) -> int:
    """Write a convolution, transposed convolution or linear layer."""
    layer, path = emitter.traced.layers.get(module_path(node)), module_path(node)
    values = arguments_of(node)
    bias = None if node in emitter.traced.redundant_biases else emitter.array(values["bias"])
    if layer is None:
        return _in_float(emitter, node, emitter.value(values["input"]), None, bias)
    source = values["input"]
    if not is_int8(node, layer):
        if path not in emitter.float_layers:
            emitter.float_layers.append(path)
        return _in_float(emitter, node, emitter.value(source), layer, bias)
    pads = pads_of(source) if source.op == "call_function" else None
    source = source.args[0] if pads is not None else source
    return int8_layer(emitter, node, emitter.value(source), bias, pads)


def is_int8(node: fx.Node, layer: QuantizedLayer) -> bool:
    """Return whether a layer runs in int8: its input, its weight and, if rounded, its sums."""
    rounded = layer.outputs is None or layer.outputs.full
    if layer.codes is None or layer.inputs is None or not rounded:
        return False
    if operator_name(node) == "linear":
        return value_of(node).dim() == 2
    window = window_of(node) if operator_name(node) in _LAYERS else None
    return window is not None and not _is_depthwise(node, window)


def _is_depthwise(node: fx.Node, window: Window) -> bool:
    """Return whether each channel is a group: XNNPACK has that in float, and int8 is slower."""
    return 1 < window.groups == value_of(arguments_of(node)["input"]).shape[1]


def int8_layer(
    emitter: Emitter, node: fx.Node, tensor: int, bias: np.ndarray | None, pads: Pads | None = None
) -> int:
    """Write a layer of `is_int8`.

    Args:
        tensor: its input, without the pads.
    """
    layer = emitter.traced.layers[module_path(node)]
    assert layer.inputs is not None
    tensor = limited(emitter, tensor, layer.inputs)
    tensor = padded(emitter, tensor, pads)
    if layer.outputs is not None:
        return _rounded(emitter, node, tensor, layer, bias)
    if operator_name(node) == "linear":
        columns = emitter.model.constant(_ends(layer.inputs, 2)[None])
        weight = _weight(emitter, node, layer, more=2)
        return _product(emitter, node, emitter.joined([tensor, columns], 1), weight, bias)
    window = window_of(node)
    assert window is not None
    rows = emitter.model.shape(tensor)[ROWS]
    tensor = _with_zeros(emitter, tensor, window)
    zero = zero_line(emitter, tensor, ROWS)
    lines = [zero] * window.zero_rows(rows, int(value_of(node).shape[2]))
    lines.append(emitter.pair("ADD", zero, _row_of_ends(emitter, tensor, layer.inputs)))
    weight = _weight(emitter, node, layer, more=int(window.kernel == (1, 1)))
    return _convolved(emitter, node, below(emitter, tensor, lines), weight, bias)


def limited(emitter: Emitter, tensor: int, codes: Codes) -> int:
    """Write values limited to the range of codes; what a ReLU made has no end below."""
    low, high = (np.float32(code * codes.scale) for code in (codes.low, codes.high))
    if codes.signed or emitter.model.made_by(tensor) != "RELU":
        tensor = emitter.pair("MAXIMUM", tensor, emitter.model.constant(low))
    return emitter.pair("MINIMUM", tensor, emitter.model.constant(high))


def on_grid(emitter: Emitter, tensor: int, codes: Codes) -> int:
    """Write values rounded to codes, as floats."""
    return _from_codes(emitter, _to_codes(emitter, limited(emitter, tensor, codes), codes))


def _to_codes(emitter: Emitter, tensor: int, codes: Codes) -> int:
    grid, shape = _grid(codes), emitter.model.shape(tensor)
    return emitter.model.emit("QUANTIZE", [tensor], shape, dtype="int8", grid=grid)


def _from_codes(emitter: Emitter, tensor: int) -> int:
    return emitter.model.emit("DEQUANTIZE", [tensor], emitter.model.shape(tensor))


def _grid(codes: Codes) -> tuple[float, int, int]:
    return codes.scale, 0 if codes.signed else LOW, 0


def _rounded(
    emitter: Emitter, node: fx.Node, tensor: int, layer: QuantizedLayer, bias: np.ndarray | None
) -> int:
    """Write a layer from codes to codes; the scales of its sums go into those of its weight."""
    assert layer.inputs is not None
    assert layer.outputs is not None
    if operator_name(node) != "linear":
        window = window_of(node)
        assert window is not None
        tensor = _with_zeros(emitter, tensor, window)
    tensor = _to_codes(emitter, tensor, layer.inputs)
    weight = _weight(emitter, node, layer, over=layer.outputs)
    write = _product if operator_name(node) == "linear" else _convolved
    sums = _from_codes(emitter, write(emitter, node, tensor, weight, None, _grid(_BYTES)))
    return _scaled(emitter, sums, layer.outputs, bias)


def _scaled(emitter: Emitter, sums: int, outputs: OutputCodes, bias: np.ndarray | None) -> int:
    """Write codes of sums times their steps, plus the bias."""
    sums = emitter.pair("MUL", sums, emitter.model.constant(outputs.scale))
    return sums if bias is None else emitter.pair("ADD", sums, emitter.model.constant(bias))


def _in_float(
    emitter: Emitter, node: fx.Node, tensor: int, layer: QuantizedLayer | None,
    bias: np.ndarray | None,
) -> int:  # fmt: skip
    """Write a layer in float; a quantised one on the grids of training."""
    window = window_of(node) if operator_name(node) != "linear" else None
    if operator_name(node) != "linear" and window is None:
        raise unknown(node)
    if layer is not None and layer.inputs is not None:
        tensor = on_grid(emitter, tensor, layer.inputs)
    if layer is not None and layer.codes is not None:
        codes = _weight(emitter, node, layer)
        weight = emitter.model.emit("DEQUANTIZE", [codes], emitter.model.shape(codes))
    else:
        array = emitter.array(arguments_of(node)["weight"])
        if array is None:
            raise unknown(node)
        weight = emitter.model.constant(_ordered(node, array))
    outputs = None if layer is None else layer.outputs
    write = _product
    if window is not None:
        tensor, write = _with_zeros(emitter, tensor, window), _convolved
    if outputs is None:
        return write(emitter, node, tensor, weight, bias)
    sums = write(emitter, node, tensor, weight, None)
    sums = emitter.pair("MUL", sums, emitter.model.constant(1 / outputs.scale))
    sums = on_grid(emitter, sums, Codes(1.0, outputs.low, outputs.high))
    return _scaled(emitter, sums, outputs, bias)


def _weight(
    emitter: Emitter, node: fx.Node, layer: QuantizedLayer, *, more: int = 0,
    over: OutputCodes | None = None,
) -> int:  # fmt: skip
    """Add a weight in codes.

    Args:
        more: lines of zeros: of inputs of a linear layer, of rows of a kernel.
        over: steps of the sums, for a layer that writes codes.
    """
    assert layer.codes is not None
    assert layer.scale is not None
    codes = _ordered(node, layer.codes)
    pads = [(0, more if axis == 1 else 0) for axis in range(codes.ndim)]
    scale = layer.scale if over is None else layer.scale / over.scale
    axis = codes.ndim - 1 if _reads_depthwise(node) else 0
    return emitter.model.constant(np.pad(codes, pads), scale.astype(np.float32), axis)


def _reads_depthwise(node: fx.Node) -> bool:
    window = window_of(node) if operator_name(node) != "linear" else None
    return window is not None and _is_depthwise(node, window)


def _ordered(node: fx.Node, weight: np.ndarray) -> np.ndarray:
    """Return a weight as the file has it: outputs, rows, columns, inputs."""
    if operator_name(node) == "linear":
        return weight
    if operator_name(node) == "conv_transpose2d":
        return weight.transpose(1, 2, 3, 0)
    return weight.transpose(1, 2, 3, 0) if _reads_depthwise(node) else weight.transpose(0, 2, 3, 1)


def _product(
    emitter: Emitter, node: fx.Node, tensor: int, weight: int, bias: np.ndarray | None,
    grid: Any = None,
) -> int:  # fmt: skip
    shape = emitter.model.shape
    operands = [tensor, weight, _shift(emitter, node, shape(weight)[0], bias, grid)]
    return emitter.model.emit(
        "FULLY_CONNECTED", operands, (*shape(tensor)[:-1], shape(weight)[0]),
        "FullyConnectedOptions", "int8" if grid else "float32", grid, keepNumDims=True,
    )  # fmt: skip


def _convolved(
    emitter: Emitter, node: fx.Node, tensor: int, weight: int, bias: np.ndarray | None,
    grid: Any = None,
) -> int:  # fmt: skip
    """Write the convolution itself, and cut its output to what the generator's has.

    Args:
        grid: of its output, where that is in codes.
    """
    window, model = window_of(node), emitter.model
    assert window is not None
    outputs, height, width = (int(n) for n in value_of(node).shape[1:])
    rows, columns = model.shape(tensor)[ROWS], model.shape(tensor)[COLUMNS]
    _, tall, wide, _ = model.shape(weight)
    made = Window(
        (tall, wide), window.stride, window.dilation, (0, 0), (0, 0), 1, window.transposed
    )
    same = window.is_same and any(window.before) and not window.transposed
    sides = (rows, columns) if same else made.made(rows, columns)
    options: dict[str, Any] = {"padding": SAME if same else VALID}
    options |= {"strideH": window.stride[0], "strideW": window.stride[1]}
    if not window.transposed:
        options |= {"dilationHFactor": window.dilation[0], "dilationWFactor": window.dilation[1]}
    operands = [tensor, weight, _shift(emitter, node, outputs, bias, grid)]
    operator, table = "CONV_2D", "Conv2DOptions"
    shape = (1, *sides, outputs)
    if window.transposed:
        operator, table = "TRANSPOSE_CONV", "TransposeConvOptions"
        operands = [model.constant([int(n) for n in shape]), weight, tensor, operands[2]]
    elif _is_depthwise(node, window):
        operator, table = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
        options["depthMultiplier"] = outputs // window.groups
    dtype = "int8" if grid else "float32"
    result = model.emit(operator, operands, shape, table, dtype, grid, **options)
    first = window.before if window.transposed else (0, 0)
    return emitter.cut(result, (0, *first, 0), (1, height, width, outputs), grid)


def _shift(
    emitter: Emitter, node: fx.Node, outputs: int, bias: np.ndarray | None, grid: Any
) -> int:
    """Add a bias, of zeros where there is none: XNNPACK wants one.

    In front of codes it is whole numbers of the products' step.
    """
    if grid is None:
        return emitter.model.constant(np.zeros(outputs, np.float32) if bias is None else bias)
    layer = emitter.traced.layers[module_path(node)]
    assert layer.inputs is not None
    assert layer.outputs is not None
    assert layer.scale is not None
    steps = (layer.scale / layer.outputs.scale).astype(np.float32) * np.float32(layer.inputs.scale)
    return emitter.model.constant(np.zeros(outputs, np.int32), steps)


def _with_zeros(emitter: Emitter, tensor: int, window: Window) -> int:
    """Write the zeros around an input that the format's own padding does not make."""
    if window.transposed or window.is_same:
        return tensor
    (top, left), (bottom, right) = window.before, window.behind
    return padded(emitter, tensor, Pads(ZEROS, (left, right, top, bottom)))


def _row_of_ends(emitter: Emitter, tensor: int, codes: Codes) -> int:
    """Add the ends of 256 codes, along the channels or, of one channel, along the row."""
    _, _, width, channels = emitter.model.shape(tensor)
    shape = (1, 1, 1, channels) if channels > 1 else (1, 1, width, 1)
    return emitter.model.constant(_ends(codes, max(shape)).reshape(shape))


def _ends(codes: Codes, count: int) -> np.ndarray:
    """Return the greatest value of 256 codes, and the least in the first place.

    Fewer codes than 256 keep their scale, since values are limited to their own range.
    """
    zero = 0 if codes.signed else LOW
    ends = np.full(count, (HIGH - zero) * codes.scale, np.float32)
    ends[0] = (LOW - zero) * codes.scale if codes.signed else ends[0]
    return ends
