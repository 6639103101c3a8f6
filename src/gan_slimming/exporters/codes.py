"""Values as codes in the file: quantisers in front of a layer, and behind its sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from onnx import numpy_helper

from gan_slimming.exporters.emitter import Emitter
from gan_slimming.exporters.graph import Codes, OutputCodes
from gan_slimming.exporters.shapes import cut

LOWEST = float(np.finfo(np.float32).min)
FOLDED = frozenset({
    "Add", "Sub", "Mul", "Div", "BatchNormalization", "Relu", "LeakyRelu", "PRelu", "Clip", "Max",
    "Min", "DepthToSpace", "Pad", "Reshape", "Transpose", "Slice",
})  # fmt: skip
"""Operators that OpenVINO folds into the quantiser behind them, or moves it past."""


def quantize(emitter: Emitter, name: str, codes: Codes, zero: str) -> str:
    """Codes of a value, of the type of `zero`; fewer than 8 bits are clipped first.

    A Max that changes nothing stands in front where OpenVINO would get the quantiser wrong.
    """
    if emitter.form == "qdq" and _is_misread(emitter, name, codes):
        name = apart(emitter, name)
    if not codes.full:
        limits = [emitter.scalar(code * codes.scale) for code in (codes.low, codes.high)]
        name = emitter.emit("Clip", [name, *limits])
    return emitter.emit("QuantizeLinear", [name, emitter.scalar(codes.scale), zero])


def apart(emitter: Emitter, name: str) -> str:
    """Keep what stands in front out of a quantiser, by a Max that changes nothing."""
    return emitter.emit("Max", [name, emitter.scalar(LOWEST)])


def _is_misread(emitter: Emitter, name: str, codes: Codes) -> bool:
    """Whether OpenVINO 2026 computes nonsense in a quantiser of this value.

    It folds scales of channels into a quantiser, and swaps the limits where one is negative. It
    moves a quantiser in front of a concatenation, and loses its zero point there.
    """
    while (maker := emitter.makers.get(name)) is not None:
        if maker.op_type == "Concat":
            return codes.signed
        if maker.op_type not in FOLDED:
            return False
        if maker.op_type in ("Mul", "Div", "BatchNormalization"):
            scales = _constants(emitter, maker.input[:2])
            if any((scale < 0).any() for scale in scales):
                return True
        values = [given for given in maker.input if given not in emitter.constants]
        if maker.op_type in ("Add", "Sub", "Mul", "Div") and len(values) != 1:
            return False
        name = values[0]
    return False


def _constants(emitter: Emitter, names: Iterable[str]) -> list[np.ndarray]:
    held = (emitter.constants.get(name) for name in names)
    return [numpy_helper.to_array(tensor) for tensor in held if tensor is not None]


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
    """Sums with `dims` spatial axes on their channels' grids, in float."""
    if not outputs.full:
        low, high = (_along(emitter, c * outputs.scale, dims) for c in (outputs.low, outputs.high))
        name = emitter.emit("Min", [emitter.emit("Max", [name, low]), high])
    held = [emitter.constant(outputs.scale, "scale")]
    held.append(emitter.constant(np.zeros(outputs.scale.shape, np.int8), "zero"))
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
        name = cut(emitter, name, axis, 0, -pixels) if pixels else name
    return name


def _along(emitter: Emitter, vector: np.ndarray, dims: int) -> str:
    """A vector that broadcasts along axis 1 of a value with `dims` spatial axes."""
    return emitter.constant(vector.astype(np.float32).reshape(-1, *[1] * dims), "channel")
