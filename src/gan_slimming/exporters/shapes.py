"""Operators that move numbers without changing one, in ONNX: views, slices, permutations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import fx

from gan_slimming.exporters.emitter import Emitter
from gan_slimming.exporters.graph import arguments_of, unknown
from gan_slimming.pruning.nodes import operator_name, value_of

PIECES = frozenset({"chunk", "split", "split_with_sizes"})


def _reshape(emitter: Emitter, node: fx.Node) -> str:
    """Every axis but the batch, which stays as it is (0 in ONNX)."""
    source = node.args[0]
    if value_of(source).shape[0] != value_of(node).shape[0]:
        raise unknown(node)
    shape = emitter.integers([0, *value_of(node).shape[1:]])
    return emitter.emit("Reshape", [emitter.value(source), shape])


def _expand_as(emitter: Emitter, node: fx.Node) -> str:
    shape = emitter.emit("Shape", [emitter.value(node.args[1])])
    return emitter.emit("Expand", [emitter.value(node.args[0]), shape])


def _axes(emitter: Emitter, node: fx.Node) -> str:
    """unsqueeze and squeeze of named axes."""
    values = arguments_of(node)
    if "dim" not in values:
        raise unknown(node)
    dims = values["dim"] if isinstance(values["dim"], list | tuple) else [values["dim"]]
    operator = "Unsqueeze" if operator_name(node) == "unsqueeze" else "Squeeze"
    return emitter.emit(operator, [emitter.value(node.args[0]), emitter.integers(list(dims))])


def _permute(emitter: Emitter, node: fx.Node) -> str:
    values, rank = arguments_of(node), value_of(node).dim()
    order = list(values.get("dims") or range(rank))
    if "dims" not in values:
        one, two = values.get("dim0", rank - 2), values.get("dim1", rank - 1)
        order[one], order[two] = order[two], order[one]
    return emitter.emit("Transpose", [emitter.value(node.args[0])], perm=[d % rank for d in order])


def _cut(emitter: Emitter, name: str, axis: int, start: int, end: int, step: int = 1) -> str:
    ranges = [emitter.integers([number]) for number in (start, end, axis, step)]
    return emitter.emit("Slice", [name, *ranges])


def _slice(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    start, end = values["start"] or 0, values["end"]
    end = 2**31 - 1 if end is None else end
    return _cut(emitter, emitter.value(node.args[0]), values["dim"], start, end, values["step"])


def _select(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    index = emitter.constant(np.array(values["index"], np.int64), "index")
    return emitter.emit("Gather", [emitter.value(node.args[0]), index], axis=values["dim"])


def _pieces(emitter: Emitter, node: fx.Node) -> str:
    """chunk and split are cut where a piece is taken."""
    return emitter.value(node.args[0])


def _piece(emitter: Emitter, node: fx.Node) -> str:
    """One of the pieces of a chunk or split."""
    source, number = node.args[:2]
    assert isinstance(source, fx.Node)
    assert isinstance(number, int)
    if operator_name(source) not in PIECES:
        raise unknown(node)
    axis = arguments_of(source)["dim"] % value_of(node).dim()
    sizes = [piece.shape[axis] for piece in source.meta["val"]]
    start = sum(sizes[:number])
    return _cut(emitter, emitter.value(source), axis, start, start + sizes[number])


def _glu(emitter: Emitter, node: fx.Node) -> str:
    axis, name = arguments_of(node)["dim"], emitter.value(node.args[0])
    half = value_of(node).shape[axis]
    gate = emitter.emit("Sigmoid", [_cut(emitter, name, axis, half, 2 * half)])
    return emitter.emit("Mul", [_cut(emitter, name, axis, 0, half), gate])


def _stack(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    axis = values["dim"] % value_of(node).dim()
    axes = emitter.integers([axis])
    parts = [emitter.emit("Unsqueeze", [emitter.value(p), axes]) for p in values["tensors"]]
    return emitter.emit("Concat", parts, axis=axis)


def _flip(emitter: Emitter, node: fx.Node) -> str:
    name = emitter.value(node.args[0])
    for axis in arguments_of(node)["dims"]:
        name = _cut(emitter, name, axis, -1, -(2**31), -1)
    return name


def _roll(emitter: Emitter, node: fx.Node) -> str:
    values, name = arguments_of(node), emitter.value(node.args[0])
    if not values["dims"]:
        raise unknown(node)
    for shift, axis in zip(values["shifts"], values["dims"], strict=True):
        if shift:
            ends = [
                _cut(emitter, name, axis, -shift, 2**31 - 1), _cut(emitter, name, axis, 0, -shift)
            ]  # fmt: skip
            name = emitter.emit("Concat", ends, axis=axis % value_of(node).dim())
    return name


def _pixel_unshuffle(emitter: Emitter, node: fx.Node) -> str:
    """A convolution that picks each pixel of a cell; SpaceToDepth has another order."""
    factor, channels = arguments_of(node)["downscale_factor"], value_of(node.args[0]).shape[1]
    picks = np.eye(factor * factor, dtype=np.float32).reshape(-1, 1, factor, factor)
    kernel = emitter.constant(np.tile(picks, (channels, 1, 1, 1)), "picks")
    window = {"strides": [factor] * 2, "kernel_shape": [factor] * 2, "group": channels}
    return emitter.emit("Conv", [emitter.value(node.args[0]), kernel], **window)


SHAPES: dict[str, Callable[[Emitter, fx.Node], str]] = {
    "view": _reshape, "reshape": _reshape, "flatten": _reshape, "unflatten": _reshape,
    "squeeze": _axes, "unsqueeze": _axes, "expand_as": _expand_as,
    "permute": _permute, "transpose": _permute, "mT": _permute,
    "slice": _slice, "select": _select, **dict.fromkeys(PIECES, _pieces), "getitem": _piece,
    "glu": _glu, "stack": _stack, "flip": _flip, "roll": _roll,
    "pixel_unshuffle": _pixel_unshuffle,
}  # fmt: skip
