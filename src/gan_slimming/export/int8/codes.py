"""Quantisers in the file: in front of a layer, and behind its sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from onnx import NodeProto, numpy_helper

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.trace.integers import Codes, OutputCodes

LOWEST = float(np.finfo(np.float32).min)
FOLDED = frozenset({
    "Add", "Sub", "Mul", "Div", "BatchNormalization", "Relu", "LeakyRelu", "PRelu", "Clip", "Max",
    "Min", "DepthToSpace", "Pad", "Reshape", "Transpose", "Slice",
})  # fmt: skip
"""Operators that OpenVINO folds into the quantiser behind them, or swaps with it."""
SCALES = frozenset({"Mul", "Div", "BatchNormalization"})
SUMS_AND_SCALES = frozenset({"Add", "Sub", "Mul", "Div"})


def quantize(emitter: Emitter, name: str, codes: Codes, zero: str) -> str:
    """Quantise a value to codes in the type of `zero`; fewer than 8 bits are clipped first.

    A no-op Max goes in front where OpenVINO would otherwise get the quantiser wrong.
    """
    if emitter.quantization == "qdq" and _is_misread(emitter, name, codes):
        name = apart(emitter, name)
    if not codes.full:
        limits = [emitter.scalar(code * codes.scale) for code in (codes.low, codes.high)]
        name = emitter.emit("Clip", [name, *limits])
    return emitter.emit("QuantizeLinear", [name, emitter.scalar(codes.scale), zero])


def apart(emitter: Emitter, name: str) -> str:
    """Insert a no-op Max, which keeps a quantiser behind it from folding operators in front."""
    return emitter.emit("Max", [name, emitter.scalar(LOWEST)])


def scalable(emitter: Emitter, name: str, scales: Iterable[np.ndarray]) -> str:
    """Return a value that may be multiplied by constants.

    OpenVINO folds such constants into the quantiser in front, and gets negative ones wrong.
    """
    if emitter.quantization != "qdq" or not any((scale < 0).any() for scale in scales):
        return name
    quantized = any(maker.op_type == "DequantizeLinear" for maker, _ in _in_front(emitter, name))
    return apart(emitter, name) if quantized else name


def _is_misread(emitter: Emitter, name: str, codes: Codes) -> bool:
    """Return whether OpenVINO 2026 gets a quantiser of this value wrong.

    It folds channels' scales into a quantiser, and swaps the limits where a scale is negative. It
    moves a quantiser in front of a concatenation, and loses its zero point there.
    """
    for maker, constants in _in_front(emitter, name):
        if maker.op_type == "Concat" and codes.signed:
            return True
        if maker.op_type in SCALES and any((scale < 0).any() for scale in constants[:1]):
            return True
    return False


def _in_front(emitter: Emitter, name: str) -> Iterator[tuple[NodeProto, list[np.ndarray]]]:
    """Yield the nodes that OpenVINO looks at in front of a quantiser, with their constants."""
    while (maker := emitter.makers.get(name)) is not None:
        tensors = [emitter.constants.get(source) for source in maker.input]
        yield maker, [numpy_helper.to_array(tensor) for tensor in tensors if tensor is not None]
        values = [source for source in maker.input if source not in emitter.constants]
        if maker.op_type not in FOLDED or (maker.op_type in SUMS_AND_SCALES and len(values) != 1):
            return
        name = values[0]


def rounded(emitter: Emitter, name: str, codes: Codes, *, raised: bool = False) -> str:
    """Round a value to its quantiser's grid, in float.

    Args:
        raised: raise the result so that the lowest code is 0, and no zero point is needed.
    """
    kind = np.uint8 if raised or not codes.signed else np.int8
    zero = emitter.constant(np.array(0, kind), "zero")
    middle = emitter.constant(np.array(-codes.low, kind), "zero") if raised else zero
    operands = [quantize(emitter, name, codes, middle), emitter.scalar(codes.scale), zero]
    return emitter.emit("DequantizeLinear", operands)


def rounded_sums(emitter: Emitter, name: str, outputs: OutputCodes, dims: int) -> str:
    """Round sums with `dims` spatial axes to their channels' grids, in float.

    Equal scales are written as one: OpenVINO moves a vector of scales behind a shuffle, and would
    expand a single channel to its length there.
    """
    if not outputs.full:
        low, high = (_along(emitter, c * outputs.scale, dims) for c in (outputs.low, outputs.high))
        name = emitter.emit("Min", [emitter.emit("Max", [name, low]), high])
    scale = outputs.scale
    scale = scale[0] if (scale == scale[0]).all() else scale
    grid = [emitter.constant(np.asarray(scale), "scale")]
    grid.append(emitter.constant(np.zeros(scale.shape, np.int8), "zero"))
    name = emitter.emit("QuantizeLinear", [name, *grid], axis=1)
    return emitter.emit("DequantizeLinear", [name, *grid], axis=1)


def zero_point(codes: Codes, *, unsigned: bool) -> np.ndarray:
    """Return the zero point, in the type of the 8-bit codes."""
    if unsigned:
        return np.array(128 if codes.signed else 0, np.uint8)
    return np.array(0 if codes.signed else -128, np.int8)


def shifted(emitter: Emitter, name: str, bias: np.ndarray | None, dims: int) -> str:
    """Add a bias along axis 1 of a value with `dims` spatial axes, if there is one."""
    if bias is None:
        return name
    return emitter.emit("Add", [name, _along(emitter, bias, dims)])


def shuffled(
    emitter: Emitter, name: str, factor: int, crop: Sequence[int] = (0, 0), channels: int = 0
) -> str:
    """Interleave the phases of a subpixel convolution, if it is one, and cut off `crop` pixels.

    Args:
        crop: of rows and columns; of samples alone for signals.
        channels: of a signal's phases together.
    """
    if factor > 1 and len(crop) == 1:
        phases = emitter.integers([0, factor, channels // factor, -1])
        name = emitter.emit("Reshape", [name, phases])
        name = emitter.emit("Transpose", [name], perm=[0, 2, 3, 1])
        whole = emitter.integers([0, channels // factor, -1])
        name = emitter.emit("Reshape", [name, whole])
    elif factor > 1:
        name = emitter.shuffle(name, factor, "DCR")
    for axis, pixels in enumerate(crop, 2):
        name = emitter.slice(name, axis, 0, -pixels) if pixels else name
    return name


def _along(emitter: Emitter, vector: np.ndarray, dims: int) -> str:
    """Write a vector that broadcasts along axis 1 of a value with `dims` spatial axes."""
    vector = vector[:1] if (vector == vector[0]).all() else vector
    return emitter.constant(vector.astype(np.float32).reshape(-1, *[1] * dims), "channel")
