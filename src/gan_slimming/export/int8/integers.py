"""Layers on integers, in the forms that ONNX Runtime runs in int8.

Its quick kernels take unsigned times signed bytes alone, and on CPUs without VNNI those add two
products in 16 bits. Codes of up to 7 bits fit them on every CPU (`MIDDLE`); wider ones take the
kernels for unsigned times unsigned, slower but exact.
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
    reads_thin_rows,
    rows_to_split,
    subpixel,
)
from gan_slimming.export.trace.graph import Codes, OutputCodes, QuantizedLayer
from gan_slimming.graph.nodes import value_of

MIDDLE = 64
"""Codes of 7 bits, so much higher, are 1 to 127: two products with signed bytes fit 16 bits."""


@dataclass(frozen=True)
class _Layer:
    """A layer with integers for its weight and its input, and where it stands in the file."""

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
        """The input's codes behind their pads, and their zero point."""
        emitter, (base, pads) = self.emitter, behind_pads(self.emitter, self.source)
        zero = emitter.constant(zero_point(self.inputs, unsigned=unsigned), "zero")
        name, shuffle_how = emitter.shuffled.get(emitter.value(base), (emitter.value(base), {}))
        read = quantize(emitter, name, self.inputs, zero)
        if shuffle_how:
            planes = value_of(base).shape[1] * shuffle_how["blocksize"] ** 2
            read = emitter.shuffle_bytes(read, **shuffle_how, channels=planes)
        for pad in pads:
            read = write_pad(emitter, read, pad, zero)
        return read, zero

    def weight(self, codes: np.ndarray, higher: int) -> list[str]:
        """Codes so much higher, and their zero point."""
        raised = (codes.astype(np.int16) + higher).astype(np.uint8 if higher else np.int8)
        middle = self.emitter.constant(np.array(higher, raised.dtype), "zero")
        return [self.emitter.constant(raised, "codes"), middle]

    def on_bytes(
        self, read: str, zero: str, codes: np.ndarray, scale: np.ndarray, window: dict[str, Any]
    ) -> str:
        """QLinearConv: bytes around 128 of sums that are rounded in units of 1 / scale."""
        weight, middle = self.weight(codes, 0 if self.narrow else 2 * MIDDLE)
        parts = [read, self.emitter.scalar(self.inputs.scale), zero, weight]
        parts += [self.emitter.constant(scale, "scale"), middle, self.emitter.scalar(1.0)]
        parts.append(self.emitter.constant(np.array(128, np.uint8), "zero"))
        return self.emitter.emit("QLinearConv", parts, self.path, **window)

    def in_float(self, sums: str, scale: np.ndarray, axis: int) -> str:
        """Sums of products times one scale a channel."""
        parts = [sums, self.emitter.constant(scale * np.float32(self.inputs.scale), "scale")]
        parts.append(self.emitter.constant(np.zeros(scale.shape, np.int32), "zero"))
        return self.emitter.emit("DequantizeLinear", parts, axis=axis)


def integer_layer(
    emitter: Emitter, values: dict[str, Any], layer: QuantizedLayer, bias: np.ndarray | None,
    operator: str, window: dict[str, Any], path: str,
) -> str:  # fmt: skip
    """A layer whose weight and input are quantised; its sums are exact."""
    assert layer.codes is not None
    assert layer.scale is not None
    assert layer.inputs is not None
    parts = (values["input"], layer.codes, layer.scale, layer.inputs, bias, path)
    held, outputs = _Layer(emitter, *parts), layer.outputs
    if operator in ("Gemm", "MatMul"):
        return _matrix_product(held)
    if outputs is not None and outputs.full and _fills_whole_cells(operator, window):
        return _bytes_to_bytes(held, outputs, operator, window)
    return _bytes_to_float(held, outputs, operator, window)


def _fills_whole_cells(operator: str, window: dict[str, Any]) -> bool:
    """Whether a transposed convolution makes stride pixels of each, and nothing beyond."""
    return operator != "ConvTranspose" or overhangs(window) == ([0, 0], [0, 0])


def _matrix_product(layer: _Layer) -> str:
    read, zero = layer.read(unsigned=True)
    weight, middle = layer.weight(layer.codes.T, 0 if layer.narrow else 2 * MIDDLE)
    sums = layer.emitter.emit("MatMulInteger", [read, weight, zero, middle], layer.path)
    made = layer.in_float(sums, layer.scale, value_of(layer.source).dim() - 1)
    return shifted(layer.emitter, made, layer.bias, 0)


def _bytes_to_float(
    layer: _Layer, outputs: OutputCodes | None, operator: str, window: dict[str, Any]
) -> str:
    """ConvInteger, then one scale and one shift per channel."""
    emitter, codes, scale, bias = layer.emitter, layer.codes, layer.scale, layer.bias
    read, zero = layer.read(unsigned=not layer.narrow)
    dims, factor, crop = codes.ndim - 2, 0, [0, 0]
    if operator == "ConvTranspose":
        factor, (_, crop) = window["strides"][0], overhangs(window)
        codes, scale, bias, window = subpixel(codes, scale, bias, window)
    rows = rows_to_split(codes, window)
    if rows:
        codes, window = rows_as_channels(codes), {**window, "kernel_shape": [1, codes.shape[3]]}
    weight, middle = layer.weight(codes, MIDDLE if layer.narrow else 2 * MIDDLE)
    sums = emitter.emit("ConvInteger", [read, weight, zero, middle], layer.path, **window)
    sums = _sum_of_rows(emitter, sums, rows, codes.shape[0] // rows) if rows else sums
    made = layer.in_float(sums, scale, 1)
    if outputs is not None:
        made = rounded_sums(emitter, made, outputs.tiled(factor), dims)
    return shuffled(emitter, shifted(emitter, made, bias, dims), factor, crop)


def _bytes_to_bytes(
    layer: _Layer, outputs: OutputCodes, operator: str, window: dict[str, Any]
) -> str:
    """QLinearConv, whose kernels are the quickest: it copies no image and writes bytes.

    It has one scale for all its output, so those of channels go into the weight's.
    """
    emitter, codes, scale = layer.emitter, layer.codes, layer.scale / outputs.scale
    read, zero = layer.read(unsigned=True)
    if operator == "ConvTranspose":
        made = _rows_of_cells(layer, read, zero, scale, window)
    else:
        if reads_thin_rows(codes, window):
            read, window = _stacked_rows(emitter, read, zero, codes, window)
            codes = rows_as_inputs(codes, INPUTS_AT_ONCE)
        made = layer.on_bytes(read, zero, codes, scale, window)
    return _channels_in_float(emitter, made, outputs.scale, layer.bias)


def _rows_of_cells(
    layer: _Layer, read: str, zero: str, scale: np.ndarray, window: dict[str, Any]
) -> str:
    """The convolutions of `subpixel_rows`, and their rows in turns.

    With the channels last, as ONNX Runtime has them, the cells' columns lie side by side already.
    """
    emitter, factor = layer.emitter, window["strides"][0]
    rows, scale = [], np.tile(scale, factor)
    for codes, pads in subpixel_rows(layer.codes, factor, tuple(window["pads"][:2])):
        sides = {"pads": list(pads), "kernel_shape": list(codes.shape[2:])}
        made = layer.on_bytes(read, zero, codes, scale, sides)
        made = emitter.emit("Transpose", [made], perm=[0, 2, 3, 1])
        rows.append(emitter.emit("Reshape", [made, emitter.integers([0, 0, 1, -1])]))
    shape = emitter.sizes([0, -1, emitter.width_times(read, factor), scale.size // factor])
    made = emitter.emit("Reshape", [emitter.emit("Concat", rows, axis=2), shape])
    return emitter.emit("Transpose", [made], perm=[0, 3, 1, 2])


def _channels_in_float(
    emitter: Emitter, name: str, scale: np.ndarray, bias: np.ndarray | None
) -> str:
    """Bytes around 128 times one scale a channel, plus a bias.

    The bias is added to rows of pixels: ONNX Runtime takes the channels last through such an
    addition, and multiplies them one by one there.
    """
    held = [emitter.constant(scale, "scale")]
    held.append(emitter.constant(np.full(scale.shape, 128, np.uint8), "zero"))
    if bias is None:
        return emitter.emit("DequantizeLinear", [name, *held], axis=1)
    rows = emitter.emit("Reshape", [name, emitter.integers([0, 0, -1])])
    rows = emitter.emit("DequantizeLinear", [rows, *held], axis=1)
    return emitter.emit("Reshape", [shifted(emitter, rows, bias, 1), emitter.shape_of(name)])


def _stacked_rows(
    emitter: Emitter, name: str, zero: str, codes: np.ndarray, window: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The input and the window of `rows_as_inputs`; channels that meet zeros are any."""
    _, inputs, rows, width = codes.shape
    top, left, bottom, right = window.get("pads", [0] * 4)
    if top or bottom:
        pads = emitter.integers([0, 0, top, 0, 0, 0, bottom, 0])
        name = emitter.emit("Pad", [name, pads, zero])
    parts = [emitter.slice(name, 2, row, row - rows + 1 or END) for row in range(rows)]
    missing = -rows * inputs % INPUTS_AT_ONCE
    while missing:
        some = min(missing, inputs)
        parts.append(parts[0] if some == inputs else emitter.slice(parts[0], 1, 0, some))
        missing -= some
    stacked = emitter.emit("Concat", parts, axis=1)
    return stacked, {**window, "pads": [0, left, 0, right], "kernel_shape": [1, width]}


def _sum_of_rows(emitter: Emitter, name: str, rows: int, outputs: int) -> str:
    """The slices of `rows_as_channels`, each shifted to its place, added up."""
    axes, total = emitter.integers([1, 2]), ""
    for row in range(rows):
        starts = emitter.integers([row * outputs, row])
        ends = emitter.integers([(row + 1) * outputs, row - rows + 1 or END])
        part = emitter.emit("Slice", [name, starts, ends, axes])
        total = emitter.emit("Add", [total, part]) if total else part
    return total
