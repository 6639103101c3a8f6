"""Values as codes in the file: quantisers in front of a layer, and behind its sums."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from onnx import NodeProto, numpy_helper

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.trace.graph import Codes, OutputCodes

LOWEST = float(np.finfo(np.float32).min)
FOLDED = frozenset({
    "Add", "Sub", "Mul", "Div", "BatchNormalization", "Relu", "LeakyRelu", "PRelu", "Clip", "Max",
    "Min", "DepthToSpace", "Pad", "Reshape", "Transpose", "Slice",
})  # fmt: skip
"""Operators that OpenVINO folds into the quantiser behind them, or moves it past."""
SCALES = frozenset({"Mul", "Div", "BatchNormalization"})
SUMS_AND_SCALES = frozenset({"Add", "Sub", "Mul", "Div"})


def quantize(emitter: Emitter, name: str, codes: Codes, zero: str) -> str:
    """Codes of a value, of the type of `zero`; fewer than 8 bits are clipped first.

    A Max that changes nothing stands in front where OpenVINO would get the quantiser wrong.
    """
    if emitter.quantization == "qdq" and _is_misread(emitter, name, codes):
        name = apart(emitter, name)
    if not codes.full:
        limits = [emitter.scalar(code * codes.scale) for code in (codes.low, codes.high)]
        name = emitter.emit("Clip", [name, *limits])
    return emitter.emit("QuantizeLinear", [name, emitter.scalar(codes.scale), zero])


def apart(emitter: Emitter, name: str) -> str:
    """Keep what stands in front out of a quantiser, by a Max that changes nothing."""
    return emitter.emit("Max", [name, emitter.scalar(LOWEST)])


def scalable(emitter: Emitter, name: str, scales: Iterable[np.ndarray]) -> str:
    """Return a value that constants may be multiplied with.

    OpenVINO folds them into the quantiser in front, too, and gets negative ones wrong there.
    """
    if emitter.quantization != "qdq" or not any((scale < 0).any() for scale in scales):
        return name
    quantized = any(maker.op_type == "DequantizeLinear" for maker, _ in _in_front(emitter, name))
    return apart(emitter, name) if quantized else name


def _is_misread(emitter: Emitter, name: str, codes: Codes) -> bool:
    """Return whether OpenVINO 2026 computes nonsense in a quantiser of this value.

    It folds scales of channels into a quantiser, and swaps the limits where one is negative. It
    moves a quantiser in front of a concatenation, and loses its zero point there.
    """
    for maker, constants in _in_front(emitter, name):
        if maker.op_type == "Concat" and codes.signed:
            return True
        if maker.op_type in SCALES and any((scale < 0).any() for scale in constants[:1]):
            return True
    return False


def _in_front(emitter: Emitter, name: str) -> Iterator[tuple[NodeProto, list[np.ndarray]]]:
    """Yield what makes a value, and its constants, as far as OpenVINO looks from a quantiser."""
    while (maker := emitter.makers.get(name)) is not None:
        held = [emitter.constants.get(given) for given in maker.input]
        yield maker, [numpy_helper.to_array(tensor) for tensor in held if tensor is not None]
        values = [given for given in maker.input if given not in emitter.constants]
        if maker.op_type not in FOLDED or (maker.op_type in SUMS_AND_SCALES and len(values) != 1):
            return
        name = values[0]


def rounded(emitter: Emitter, name: str, codes: Codes, *, raised: bool = False) -> str:
    """A value on its quantiser's grid, in float.

    Args:
        raised: so much higher that the lowest code is 0, and no zero point is needed.
    """
    kind = np.uint8 if raised or not codes.signed else np.int8
    zero = emitter.constant(np.array(0, kind), "zero")
    middle = emitter.constant(np.array(-codes.low, kind), "zero") if raised else zero
    held = [quantize(emitter, name, codes, middle), emitter.scalar(codes.scale), zero]
    return emitter.emit("DequantizeLinear", held)


def rounded_sums(emitter: Emitter, name: str, outputs: OutputCodes, dims: int) -> str:
    """Sums with `dims` spatial axes on their channels' grids, in float.

    Equal scales are written as one: OpenVINO moves them behind a shuffle, and would make as many
    channels of one there as it has scales.
    """
    if not outputs.full:
        low, high = (_along(emitter, c * outputs.scale, dims) for c in (outputs.low, outputs.high))
        name = emitter.emit("Min", [emitter.emit("Max", [name, low]), high])
    scale = outputs.scale
    scale = scale[0] if (scale == scale[0]).all() else scale
    held = [emitter.constant(np.asarray(scale), "scale")]
    held.append(emitter.constant(np.zeros(scale.shape, np.int8), "zero"))
    name = emitter.emit("QuantizeLinear", [name, *held], axis=1)
    return emitter.emit("DequantizeLinear", [name, *held], axis=1)


def zero_point(codes: Codes, *, unsigned: bool) -> np.ndarray:
    """The zero point, in the type that codes of 8 bits shall have."""
    if unsigned:
        return np.array(128 if codes.signed else 0, np.uint8)
    return np.array(0 if codes.signed else -128, np.int8)


def shifted(emitter: Emitter, name: str, bias: np.ndarray | None, dims: int) -> str:
    """A value with `dims` spatial axes plus a bias along axis 1, if there is one."""
    if bias is None:
        return name
    return emitter.emit("Add", [name, _along(emitter, bias, dims)])


def shuffled(emitter: Emitter, name: str, factor: int, crop: Sequence[int] = (0, 0)) -> str:
    """The phases of a subpixel convolution side by side, if it is one, without `crop` pixels."""
    name = emitter.shuffle(name, factor, "DCR") if factor > 1 else name
    for axis, pixels in enumerate(crop, 2):
        name = emitter.slice(name, axis, 0, -pixels) if pixels else name
    return name


def _along(emitter: Emitter, vector: np.ndarray, dims: int) -> str:
    """A vector that broadcasts along axis 1 of a value with `dims` spatial axes."""
    vector = vector[:1] if (vector == vector[0]).all() else vector
    return emitter.constant(vector.astype(np.float32).reshape(-1, *[1] * dims), "channel")
