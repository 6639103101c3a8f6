"""Fourier transforms over pixels in ONNX, as matrix products; complex values have two parts.

A transform along an axis of n pixels is a product with the matrix exp(-2 pi i j k / n), whose
cosines and sines the file computes from its input's size. No runtime needs a transform of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.trace.graph import arguments_of, unknown
from gan_slimming.graph.nodes import operator_name, value_of

Parts = tuple[str, str]
"""Names of a value's real and imaginary part."""


def is_complex(argument: object) -> bool:
    """Return whether a call's argument is complex."""
    found = argument.meta.get("val") if isinstance(argument, fx.Node) else None
    return isinstance(found, torch.Tensor) and found.is_complex()


def _parts(emitter: Emitter, argument: Any) -> Parts:
    """Return the parts of a value; the imaginary one of a real value is ''."""
    if is_complex(argument):
        return emitter.complex_parts[argument]
    return emitter.value(argument), ""


def _made(emitter: Emitter, node: fx.Node, parts: Parts) -> str:
    emitter.complex_parts[node] = parts
    return parts[0]


def _axes(node: fx.Node) -> list[int]:
    """Return the axes of a transform, the last two of an image at most."""
    rank, dims = value_of(node).dim(), arguments_of(node).get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    axes = [int(d) % rank for d in dims or ()]
    if not axes or any(axis < rank - 2 for axis in axes) or len(set(axes)) < len(axes):
        raise unknown(node)
    return axes


def _forward(emitter: Emitter, node: fx.Node) -> str:
    """Write a transform of a real or complex value; a real one keeps half of its last axis."""
    if arguments_of(node).get("s") or arguments_of(node).get("n"):
        raise unknown(node)
    axes, parts = _axes(node), _parts(emitter, node.args[0])
    lengths = {axis: emitter.side(node.args[0], axis) for axis in axes}
    half = operator_name(node).startswith("fft_rfft")
    for axis in reversed(axes):
        columns = lengths[axis]
        if half and axis == axes[-1]:
            columns = _plus_one(emitter, emitter.emit("Div", [columns, emitter.integers([2])]))
        parts = _along(emitter, node, parts, axis, _waves(emitter, lengths[axis], columns), -1)
    return _made(emitter, node, _scaled(emitter, node, parts, list(lengths.values()), 1))


def _inverse(emitter: Emitter, node: fx.Node) -> str:
    """Write an inverse transform of a complex value, to a real one from half of its last axis."""
    if not is_complex(node.args[0]):
        raise unknown(node)
    axes, parts = _axes(node), _parts(emitter, node.args[0])
    real = operator_name(node).startswith("fft_irfft")
    sizes = arguments_of(node).get("s") or arguments_of(node).get("n")
    sizes = [sizes] if sizes is not None and not isinstance(sizes, list | tuple) else sizes
    lengths = {axis: emitter.side(node.args[0], axis) for axis in axes}
    if real and sizes:
        lengths[axes[-1]] = emitter.size(sizes[-1])
    elif real:
        last = emitter.emit("Sub", [lengths[axes[-1]], emitter.integers([1])])
        lengths[axes[-1]] = emitter.emit("Mul", [last, emitter.integers([2])])
    for axis in axes[:-1] if real else axes:
        waves = _waves(emitter, lengths[axis], lengths[axis])
        parts = _along(emitter, node, parts, axis, waves, 1)
    if real:
        parts = _to_real(emitter, node, parts, axes[-1], lengths[axes[-1]])
    parts = _scaled(emitter, node, parts, list(lengths.values()), -1)
    return parts[0] if real else _made(emitter, node, parts)


def _to_real(emitter: Emitter, node: fx.Node, parts: Parts, axis: int, length: str) -> Parts:
    """Write the last step back: waves between the first and the middle one count twice."""
    count = _plus_one(emitter, emitter.emit("Div", [length, emitter.integers([2])]))
    cosines, sines = _waves(emitter, count, length, period=length)
    wave = _float(emitter, _range(emitter, count))
    twice = emitter.emit("Mul", [wave, emitter.scalar(2.0)])
    period = _float(emitter, length)
    single = emitter.emit("Or", [
        emitter.emit("Equal", [wave, emitter.scalar(0.0)]),
        emitter.emit("Equal", [twice, period]),
    ])  # fmt: skip
    weight = emitter.emit("Where", [single, emitter.scalar(1.0), emitter.scalar(2.0)])
    column = emitter.emit("Unsqueeze", [weight, emitter.integers([1])])
    cosines, sines = (emitter.emit("Mul", [table, column]) for table in (cosines, sines))
    first = _product(emitter, node, parts[0], cosines, axis)
    second = _product(emitter, node, parts[1], sines, axis)
    return emitter.emit("Sub", [first, second]), ""


def _waves(emitter: Emitter, rows: str, columns: str, period: str = "") -> Parts:
    """Write cos and sin of 2 pi j k / period, (rows, columns); the period is `rows` without one."""
    period = period or rows
    first = emitter.emit("Unsqueeze", [_range(emitter, rows), emitter.integers([1])])
    second = emitter.emit("Unsqueeze", [_range(emitter, columns), emitter.integers([0])])
    turns = emitter.emit("Mod", [emitter.emit("Mul", [first, second]), period])
    share = emitter.emit("Div", [_float(emitter, turns), _float(emitter, period)])
    angle = emitter.emit("Mul", [share, emitter.scalar(2 * math.pi)])
    return emitter.emit("Cos", [angle]), emitter.emit("Sin", [angle])


def _along(
    emitter: Emitter, node: fx.Node, parts: Parts, axis: int, waves: Parts, sign: int
) -> Parts:
    """Write (re + i im)(cos + sign i sin) along an axis."""
    (real, imaginary), (cosines, sines) = parts, waves
    one, other = (_product(emitter, node, real, table, axis) for table in waves)
    other = other if sign > 0 else emitter.emit("Neg", [other])
    if not imaginary:
        return one, other
    of_sines = _product(emitter, node, imaginary, sines, axis)
    of_sines = emitter.emit("Neg", [of_sines]) if sign > 0 else of_sines
    of_cosines = _product(emitter, node, imaginary, cosines, axis)
    return emitter.emit("Add", [one, of_sines]), emitter.emit("Add", [other, of_cosines])


def _product(emitter: Emitter, node: fx.Node, name: str, table: str, axis: int) -> str:
    """Write a product along the last axis or the last but one."""
    if axis == value_of(node).dim() - 1:
        return emitter.emit("MatMul", [name, table])
    return emitter.emit("MatMul", [emitter.emit("Transpose", [table], perm=[1, 0]), name])


def _scaled(emitter: Emitter, node: fx.Node, parts: Parts, lengths: list[str], way: int) -> Parts:
    """Write the division by the number of pixels, or by its root, that the call's norm asks for."""
    norm = arguments_of(node).get("norm") or "backward"
    if norm != "ortho" and (norm == "backward") == (way > 0):
        return parts
    count, *others = lengths
    for other in others:
        count = emitter.emit("Mul", [count, other])
    divisor = _float(emitter, count)
    divisor = emitter.emit("Sqrt", [divisor]) if norm == "ortho" else divisor
    real, imaginary = parts
    divided = emitter.emit("Div", [real, divisor])
    return divided, emitter.emit("Div", [imaginary, divisor]) if imaginary else ""


def _range(emitter: Emitter, count: str) -> str:
    scalar = emitter.emit("Squeeze", [count])
    start, step = (emitter.scalar(n, torch.int64) for n in (0, 1))
    return emitter.emit("Range", [start, scalar, step])


def _float(emitter: Emitter, name: str) -> str:
    return emitter.cast(name, torch.int64, torch.float32)


def _plus_one(emitter: Emitter, name: str) -> str:
    return emitter.emit("Add", [name, emitter.integers([1])])


def _real(emitter: Emitter, node: fx.Node) -> str:
    return _parts(emitter, node.args[0])[0]


def _imaginary(emitter: Emitter, node: fx.Node) -> str:
    return emitter.complex_parts[node.args[0]][1]  # pyright: ignore


def _complex(emitter: Emitter, node: fx.Node) -> str:
    return _made(emitter, node, (emitter.value(node.args[0]), emitter.value(node.args[1])))


def _with_parts(emitter: Emitter, node: fx.Node) -> str:
    """Write view_as_real: the two parts on a last axis."""
    axis = value_of(node).dim() - 1
    parts = _parts(emitter, node.args[0])
    both = [emitter.emit("Unsqueeze", [name, emitter.integers([axis])]) for name in parts]
    return emitter.emit("Concat", both, axis=axis)


def _of_parts(emitter: Emitter, node: fx.Node) -> str:
    """Write view_as_complex: the last axis holds the two parts."""
    axis, name = value_of(node).dim(), emitter.value(node.args[0])
    numbers = [emitter.scalar(n, torch.int64) for n in (0, 1)]
    real, imaginary = (emitter.emit("Gather", [name, n], axis=axis) for n in numbers)
    return _made(emitter, node, (real, imaginary))


def _magnitude(emitter: Emitter, node: fx.Node) -> str:
    squares = [emitter.emit("Mul", [part, part]) for part in _parts(emitter, node.args[0])]
    return emitter.emit("Sqrt", [emitter.emit("Add", squares)])


FOURIER: dict[str, Callable[[Emitter, fx.Node], str]] = {
    **{f"fft_{real}fft{d}": _forward for real in ("", "r") for d in ("", "2", "n")},
    **{f"fft_i{real}fft{d}": _inverse for real in ("", "r") for d in ("", "2", "n")},
    "real": _real, "imag": _imaginary, "complex": _complex, "view_as_real": _with_parts,
    "view_as_complex": _of_parts,
}  # fmt: skip
OF_COMPLEX: dict[str, Callable[[Emitter, fx.Node], str]] = {
    **{
        name: write for name, write in FOURIER.items() if name not in ("complex", "view_as_complex")
    },
    "abs": _magnitude,
}
"""The only operators that take complex values; any other is refused."""
