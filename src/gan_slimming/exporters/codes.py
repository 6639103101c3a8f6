"""Values as codes in the file: quantisers in front of a layer, and behind its sums."""

from __future__ import annotations

import numpy as np

from gan_slimming.exporters.emitter import Emitter
from gan_slimming.exporters.graph import Codes, OutputCodes

LOWEST = float(np.finfo(np.float32).min)


def quantize(emitter: Emitter, name: str, codes: Codes, zero: str) -> str:
    """Codes of a value, of the type of `zero`; fewer than 8 bits are clipped first.

    A product with negative scales of channels is kept apart by a Max that changes nothing: OpenVINO
    would fold it into the quantiser, and computes nonsense then.
    """
    if name in emitter.turned and emitter.form == "qdq":
        name = emitter.emit("Max", [name, emitter.scalar(LOWEST)])
    if not codes.full:
        limits = [emitter.scalar(code * codes.scale) for code in (codes.low, codes.high)]
        name = emitter.emit("Clip", [name, *limits])
    return emitter.emit("QuantizeLinear", [name, emitter.scalar(codes.scale), zero])


def rounded(emitter: Emitter, name: str, codes: Codes) -> str:
    """A value on its quantiser's grid, in float."""
    zero = emitter.constant(np.array(0, np.int8 if codes.signed else np.uint8), "zero")
    held = [quantize(emitter, name, codes, zero), emitter.scalar(codes.scale), zero]
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


def shuffled(emitter: Emitter, name: str, factor: int) -> str:
    """The phases of a subpixel convolution side by side, if it is one."""
    return emitter.shuffle(name, factor, "DCR") if factor else name


def _along(emitter: Emitter, vector: np.ndarray, dims: int) -> str:
    """A vector that broadcasts along axis 1 of a value with `dims` spatial axes."""
    return emitter.constant(vector.astype(np.float32).reshape(-1, *[1] * dims), "channel")
