"""Layers in integers, in the forms that ONNX Runtime runs in int8.

Its fast kernels multiply unsigned bytes by signed ones only. On CPUs without VNNI they add two
products in 16 bits. Codes of up to 7 bits fit on every CPU (`MIDDLE`). Wider ones take the
kernels for two unsigned operands, which are slower but exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_slimming.export.emitter import END, Emitter
from gan_slimming.export.int8.codes import (
    quantize,
    rounded_sums,
    shifted,
    shuffled,
    zero_point,
)
from gan_slimming.export.int8.pads import behind_pads, write_pad
from gan_slimming.export.kernels.rewrites import rows_as_channels, rows_as_inputs, subpixel_rows
from gan_slimming.export.kernels.windows import (
    INPUTS_AT_ONCE,
    overhangs,
    phases,
    reads_thin_rows,
    rows_to_split,
    subpixel,
)
from gan_slimming.export.trace.integers import Codes, OutputCodes, QuantizedLayer
from gan_slimming.graph.nodes import value_of

MIDDLE = 64
"""Offset of 7-bit codes to 1 .. 127, so that two products with signed bytes fit 16 bits."""


@dataclass(frozen=True)
class _Layer:
    """A layer with integers for its weight and its input, and its place in the file."""

    emitter: Emitter
    source: Any
    codes: np.ndarray
    scale: np.ndarray
    inputs: Codes
    bias: np.ndarray | None
    path: str

    @property
    def narrow(self) -> bool:
        return int(np.abs(self.codes.astype(np.int16)).max(initial=0)) < MIDDLE

    def read(self, *, unsigned: bool) -> tuple[str, str]:
        """Write the input's codes behind their pads; return them and their zero point."""
        emitter, (base, pads) = self.emitter, behind_pads(self.emitter, self.source)
        zero = emitter.constant(zero_point(self.inputs, unsigned=unsigned), "zero")
        name, shuffle_how = emitter.shuffled.get(emitter.value(base), (emitter.value(base), {}))
        codes = quantize(emitter, name, self.inputs, zero)
        if shuffle_how:
            planes = value_of(base).shape[1] * shuffle_how["blocksize"] ** 2
            codes = emitter.shuffle_bytes(codes, **shuffle_how, channels=planes)
        for pad in pads:
            codes = write_pad(emitter, codes, pad, zero)
        return codes, zero

    def weight(self, codes: np.ndarray, higher: int) -> list[str]:
        """Write codes raised by `higher`; return them and their zero point."""
        raised = (codes.astype(np.int16) + higher).astype(np.uint8 if higher else np.int8)
        middle = self.emitter.constant(np.array(higher, raised.dtype), "zero")
        return [self.emitter.constant(raised, "codes"), middle]

    def on_bytes(
        self, inputs: str, zero: str, codes: np.ndarray, scale: np.ndarray, window: dict[str, Any]
    ) -> str:
        """Write a QLinearConv: bytes around 128, for sums rounded in units of 1 / scale."""
        weight, middle = self.weight(codes, 0 if self.narrow else 2 * MIDDLE)
        operands = [inputs, self.emitter.scalar(self.inputs.scale), zero, weight]
        operands += [self.emitter.constant(scale, "scale"), middle, self.emitter.scalar(1.0)]
        operands.append(self.emitter.constant(np.array(128, np.uint8), "zero"))
        return self.emitter.emit("QLinearConv", operands, self.path, **window)

    def in_float(self, sums: str, scale: np.ndarray, axis: int) -> str:
        """Multiply sums of products by one scale per channel."""
        operands = [sums, self.emitter.constant(scale * np.float32(self.inputs.scale), "scale")]
        operands.append(self.emitter.constant(np.zeros(scale.shape, np.int32), "zero"))
        return self.emitter.emit("DequantizeLinear", operands, axis=axis)


def integer_layer(
    emitter: Emitter, values: dict[str, Any], layer: QuantizedLayer, bias: np.ndarray | None,
    operator: str, window: dict[str, Any], path: str,
) -> str:  # fmt: skip
    """Write a layer with quantised weight and input; its sums are exact."""
    assert layer.codes is not None
    assert layer.scale is not None
    assert layer.inputs is not None
    fields = (values["input"], layer.codes, layer.scale, layer.inputs, bias, path)
    quantized, outputs = _Layer(emitter, *fields), layer.outputs
    if operator in ("Gemm", "MatMul"):
        return _matrix_product(quantized)
    images = len(window["kernel_shape"]) == 2
    if images and outputs is not None and outputs.full and _fills_whole_cells(operator, window):
        return _bytes_to_bytes(quantized, outputs, operator, window)
    return _bytes_to_float(quantized, outputs, operator, window)


def _fills_whole_cells(operator: str, window: dict[str, Any]) -> bool:
    """Return whether a transposed convolution makes exactly stride pixels of each input pixel."""
    return operator != "ConvTranspose" or overhangs(window) == ([0, 0], [0, 0])


def _matrix_product(layer: _Layer) -> str:
    inputs, zero = layer.read(unsigned=True)
    weight, middle = layer.weight(layer.codes.T, 0 if layer.narrow else 2 * MIDDLE)
    sums = layer.emitter.emit("MatMulInteger", [inputs, weight, zero, middle], layer.path)
    result = layer.in_float(sums, layer.scale, value_of(layer.source).dim() - 1)
    return shifted(layer.emitter, result, layer.bias, 0)


def _bytes_to_float(
    layer: _Layer, outputs: OutputCodes | None, operator: str, window: dict[str, Any]
) -> str:
    """Write a ConvInteger, then one scale and one shift per channel."""
    emitter, codes, scale, bias = layer.emitter, layer.codes, layer.scale, layer.bias
    inputs, zero = layer.read(unsigned=not layer.narrow)
    dims, factor, crop = codes.ndim - 2, 0, [0, 0]
    if operator == "ConvTranspose" and dims == 1:
        factor = window["strides"][0]
        codes, scale, bias, window, *crop = phases(codes, scale, bias, window)
    elif operator == "ConvTranspose":
        factor, (_, crop) = window["strides"][0], overhangs(window)
        codes, scale, bias, window = subpixel(codes, scale, bias, window)
    rows = rows_to_split(codes, window)
    if rows:
        codes, window = rows_as_channels(codes), {**window, "kernel_shape": [1, codes.shape[3]]}
    weight, middle = layer.weight(codes, MIDDLE if layer.narrow else 2 * MIDDLE)
    sums = emitter.emit("ConvInteger", [inputs, weight, zero, middle], layer.path, **window)
    sums = _sum_of_rows(emitter, sums, rows, codes.shape[0] // rows) if rows else sums
    result = layer.in_float(sums, scale, 1)
    if outputs is not None:
        result = rounded_sums(emitter, result, outputs.tiled(factor), dims)
    result = shifted(emitter, result, bias, dims)
    return shuffled(emitter, result, factor, crop, codes.shape[0])


def _bytes_to_bytes(
    layer: _Layer, outputs: OutputCodes, operator: str, window: dict[str, Any]
) -> str:
    """Write a QLinearConv, which has the fastest kernels: it copies no image and writes bytes.

    Its output has a single scale, so the channels' scales go into the weight's.
    """
    emitter, codes, scale = layer.emitter, layer.codes, layer.scale / outputs.scale
    inputs, zero = layer.read(unsigned=True)
    if operator == "ConvTranspose":
        result = _rows_of_cells(layer, inputs, zero, scale, window)
    else:
        if reads_thin_rows(codes, window):
            inputs, window = _stacked_rows(emitter, inputs, zero, codes, window)
            codes = rows_as_inputs(codes, INPUTS_AT_ONCE)
        result = layer.on_bytes(inputs, zero, codes, scale, window)
    return _channels_in_float(emitter, result, outputs.scale, layer.bias)


def _rows_of_cells(
    layer: _Layer, inputs: str, zero: str, scale: np.ndarray, window: dict[str, Any]
) -> str:
    """Write the convolutions of `subpixel_rows`, and interleave their rows.

    ONNX Runtime has the channels last, so the columns of a cell lie side by side already.
    """
    emitter, factor = layer.emitter, window["strides"][0]
    rows, scale = [], np.tile(scale, factor)
    for codes, pads in subpixel_rows(layer.codes, factor, tuple(window["pads"][:2])):
        sides = {"pads": list(pads), "kernel_shape": list(codes.shape[2:])}
        result = layer.on_bytes(inputs, zero, codes, scale, sides)
        result = emitter.emit("Transpose", [result], perm=[0, 2, 3, 1])
        rows.append(emitter.emit("Reshape", [result, emitter.integers([0, 0, 1, -1])]))
    shape = emitter.sizes([0, -1, emitter.width_times(inputs, factor), scale.size // factor])
    result = emitter.emit("Reshape", [emitter.emit("Concat", rows, axis=2), shape])
    return emitter.emit("Transpose", [result], perm=[0, 3, 1, 2])


def _channels_in_float(
    emitter: Emitter, name: str, scale: np.ndarray, bias: np.ndarray | None
) -> str:
    """Multiply bytes around 128 by one scale per channel, and add a bias.

    The bias is added to rows of pixels: for images ONNX Runtime would keep the channels last, and
    multiply them one by one.
    """
    grid = [emitter.constant(scale, "scale")]
    grid.append(emitter.constant(np.full(scale.shape, 128, np.uint8), "zero"))
    if bias is None:
        return emitter.emit("DequantizeLinear", [name, *grid], axis=1)
    rows = emitter.emit("Reshape", [name, emitter.integers([0, 0, -1])])
    rows = emitter.emit("DequantizeLinear", [rows, *grid], axis=1)
    return emitter.emit("Reshape", [shifted(emitter, rows, bias, 1), emitter.shape_of(name)])


def _stacked_rows(
    emitter: Emitter, name: str, zero: str, codes: np.ndarray, window: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the input and window of `rows_as_inputs`; any channels do where the weight is zero."""
    _, inputs, rows, width = codes.shape
    top, left, bottom, right = window.get("pads", [0] * 4)
    if top or bottom:
        pads = emitter.integers([0, 0, top, 0, 0, 0, bottom, 0])
        name = emitter.emit("Pad", [name, pads, zero])
    slices = [emitter.slice(name, 2, row, row - rows + 1 or END) for row in range(rows)]
    missing = -rows * inputs % INPUTS_AT_ONCE
    while missing:
        some = min(missing, inputs)
        slices.append(slices[0] if some == inputs else emitter.slice(slices[0], 1, 0, some))
        missing -= some
    stacked = emitter.emit("Concat", slices, axis=1)
    return stacked, {**window, "pads": [0, left, 0, right], "kernel_shape": [1, width]}


def _sum_of_rows(emitter: Emitter, name: str, rows: int, outputs: int) -> str:
    """Add up the slices of `rows_as_channels`, each shifted to its place."""
    axes, total = emitter.integers([1, 2]), ""
    for row in range(rows):
        starts = emitter.integers([row * outputs, row])
        ends = emitter.integers([(row + 1) * outputs, row - rows + 1 or END])
        part = emitter.emit("Slice", [name, starts, ends, axes])
        total = emitter.emit("Add", [total, part]) if total else part
    return total
