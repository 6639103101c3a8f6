"""Numbers that follow the size of the input, computed in the file from the input's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from onnx import TensorProto

from gan_slimming.errors import UserError

FOLDS = ("Add", "Mul", "Max", "Min")
DIVISIONS = ("IntTrueDiv", "FloatTrueDiv")
ROUNDINGS = {"TruncToInt": "", "FloorToInt": "Floor", "CeilToInt": "Ceil", "RoundToInt": "Round"}
"""Sympy's rounding -> ONNX operator before the Cast, which truncates; lengths are not negative."""


class Writer(Protocol):
    """The part of an emitter that sizes need."""

    numbers: dict[Any, str]

    def emit(self, operator: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """Write a node; return its output's name."""
        ...

    def constant(self, value: np.ndarray, name: str = "constant", use: str = "") -> str:
        """Write a constant; return its name."""
        ...

    def integers(self, values: Sequence[int]) -> str:
        """Write integers as one constant; return its name."""
        ...


def write_number(emitter: Writer, expression: Any) -> str:
    """Write a sympy expression of the input's sides as a tensor of one int64 or float32.

    Returns:
        Its name.
    Raises:
        UserError: ONNX does not compute the expression as Python does.
    """
    if expression not in emitter.numbers:
        emitter.numbers[expression] = _write(emitter, expression)
    return emitter.numbers[expression]


def _write(emitter: Writer, expression: Any) -> str:
    kind = type(expression).__name__
    if expression.is_Integer:
        return emitter.integers([int(expression)])
    if expression.is_Number:
        return emitter.constant(np.array([float(expression)], np.float32))
    if kind in ROUNDINGS and all(_is_short(n) for n in expression.atoms() if n.is_Float):
        name = write_number(emitter, expression.args[0])
        name = emitter.emit(ROUNDINGS[kind], [name]) if ROUNDINGS[kind] else name
        return emitter.emit("Cast", [name], to=TensorProto.INT64)
    if kind == "ToFloat":
        return _float(emitter, expression.args[0])
    if kind in FOLDS:
        write = write_number if expression.is_integer else _float
        name, *others = (write(emitter, part) for part in expression.args)
        for other in others:
            name = emitter.emit(kind, [name, other])
        return name
    if len(expression.args) == 2:
        return _write_pair(emitter, kind, expression)
    raise _unknown(expression)


def _write_pair(emitter: Writer, kind: str, expression: Any) -> str:
    """Write an operation on two numbers.

    Integer division rounds down, and Mod has the divisor's sign, as in Python.
    """
    one, other = expression.args
    if kind == "Pow" and other.is_Integer and 0 < other <= 4:
        name = write_number(emitter, one)
        power = name
        for _ in range(int(other) - 1):
            power = emitter.emit("Mul", [power, name])
        return power
    if kind in ("FloorDiv", "CleanDiv", "Mod", "PythonMod"):
        pair = [write_number(emitter, part) for part in (one, other)]
        rest = emitter.emit("Mod", pair)
        if "Div" not in kind:
            return rest
        return emitter.emit("Div", [emitter.emit("Sub", [pair[0], rest]), pair[1]])
    if kind in DIVISIONS or kind == "FloatPow":
        operator = "Div" if kind in DIVISIONS else "Pow"
        return emitter.emit(operator, [_float(emitter, part) for part in (one, other)])
    raise _unknown(expression)


def _float(emitter: Writer, expression: Any) -> str:
    name = write_number(emitter, expression)
    whole = expression.is_integer
    return emitter.emit("Cast", [name], to=TensorProto.FLOAT) if whole else name


def _is_short(number: Any) -> bool:
    """Return whether products of a number and a length are exact in float32."""
    return float(number) * 256 % 1 == 0


def _unknown(expression: Any) -> UserError:
    return UserError(
        f"the generator computes a size as {expression}, which an exported file cannot; compute it "
        "with +, -, *, // and math.floor from x.shape"
    )
