"""Operators in ONNX that move numbers without changing them: views, slices, permutations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import SymInt, fx

from gan_slimming.export.emitter import END, Emitter
from gan_slimming.export.trace.graph import arguments_of, unknown
from gan_slimming.export.trace.tracing import RESHAPES, Side, expression, free_axes, kept, sides_of
from gan_slimming.graph.nodes import operator_name, value_of

PIECES = frozenset({"chunk", "split", "split_with_sizes", "tensor_split", "hsplit", "unbind",
                    "meshgrid"})  # fmt: skip


def reshaped(
    emitter: Emitter, name: str, source: Sequence[Side], target: Sequence[Side], node: fx.Node
) -> str:
    """Write a value in another shape: 0 for an axis that keeps its length, -1 for an inferred one.

    Args:
        source, target: sides before and after.
        node: the call, for the refusal of an unknown length.
    """
    free = free_axes(source, target)
    rest = max(free, key=lambda axis: _effort(target[axis]), default=None)
    shape: list[int | SymInt] = []
    for axis, side in enumerate(target):
        if kept(source, target, axis) and (axis == 0 or not side.fixed):
            shape.append(0)
        elif side.fixed:
            shape.append(side.first)
        elif axis == rest:
            shape.append(-1)
        elif side.symbol is not None:
            shape.append(side.symbol)
        else:
            raise unknown(node)
    return emitter.emit("Reshape", [name, emitter.sizes(shape)])


def _effort(side: Side) -> int:
    """Return the number of operations in the expression of a length."""
    return END if side.symbol is None else expression(side.symbol).count_ops()


def _reshape(emitter: Emitter, node: fx.Node) -> str:
    source = node.args[0]
    return reshaped(emitter, emitter.value(source), sides_of(source), sides_of(node), node)


def _expand(emitter: Emitter, node: fx.Node) -> str:
    """Write an Expand, with 1 for axes that keep their length."""
    source, target = sides_of(node.args[0]), sides_of(node)
    sizes = arguments_of(node)["size"]
    added = len(target) - len(source)
    shape = [
        1 if axis >= added and source[axis - added][:2] == target[axis][:2] else size
        for axis, size in enumerate(sizes)
    ]
    return emitter.emit("Expand", [emitter.value(node.args[0]), emitter.sizes(shape)])


def _expand_as(emitter: Emitter, node: fx.Node) -> str:
    shape = emitter.shape_of(emitter.value(node.args[1]))
    return emitter.emit("Expand", [emitter.value(node.args[0]), shape])


def _repeat(emitter: Emitter, node: fx.Node) -> str:
    """Write repeat or tile; missing axes go in front."""
    values, rank = arguments_of(node), value_of(node.args[0]).dim()
    times = list(values["repeats"] if "repeats" in values else values["dims"])
    name = emitter.value(node.args[0])
    times = [1] * (rank - len(times)) + times
    if len(times) > rank:
        front = emitter.integers(range(len(times) - rank))
        name = emitter.emit("Unsqueeze", [name, front])
    return emitter.emit("Tile", [name, emitter.sizes(times)])


def _repeat_interleave(emitter: Emitter, node: fx.Node) -> str:
    """Write each entry of an axis `times` times: entry i is the old entry i // times."""
    values = arguments_of(node)
    times, axis = values["repeats"], values["dim"]
    if axis is None or not isinstance(times, int):
        raise unknown(node)
    length = emitter.emit("Mul", [emitter.side(node.args[0], axis), emitter.integers([times])])
    places = emitter.emit("Div", [counted(emitter, length), emitter.integers([times])])
    return emitter.emit("Gather", [emitter.value(node.args[0]), places], axis=axis)


def counted(emitter: Emitter, length: str) -> str:
    """Write 0, 1, ..., length - 1; the length is a tensor of one int64."""
    ends = [emitter.constant(np.array(n, np.int64)) for n in (0, 1)]
    return emitter.emit("Range", [ends[0], emitter.emit("Squeeze", [length]), ends[1]])


def _axes(emitter: Emitter, node: fx.Node) -> str:
    """Write unsqueeze or squeeze of named axes, or squeeze of all of length 1."""
    dims = arguments_of(node).get("dim", list(range(value_of(node.args[0]).dim())))
    dims = dims if isinstance(dims, list | tuple) else [dims]
    name = emitter.value(node.args[0])
    if operator_name(node) == "unsqueeze":
        return emitter.emit("Unsqueeze", [name, emitter.integers(list(dims))])
    sides = sides_of(node.args[0])
    dims = [d for d in dims if sides[d][:2] == (1, 1)]
    return emitter.emit("Squeeze", [name, emitter.integers(dims)]) if dims else name


def _permute(emitter: Emitter, node: fx.Node) -> str:
    values, rank = arguments_of(node), value_of(node).dim()
    order = list(values.get("dims") or range(rank))
    if operator_name(node) == "numpy_T":
        order.reverse()
    elif "dims" not in values:
        one, two = values.get("dim0", rank - 2), values.get("dim1", rank - 1)
        one, two = values.get("axis0", one), values.get("axis1", two)
        order[one], order[two] = order[two], order[one]
    return emitter.emit("Transpose", [emitter.value(node.args[0])], perm=[d % rank for d in order])


def _movedim(emitter: Emitter, node: fx.Node) -> str:
    values, rank = arguments_of(node), value_of(node).dim()
    pairs = [values[n] if isinstance(values[n], list | tuple) else [values[n]]
             for n in ("source", "destination")]  # fmt: skip
    moved = {to % rank: at % rank for at, to in zip(*pairs, strict=True)}
    rest = (axis for axis in range(rank) if axis not in moved.values())
    order = [moved[axis] if axis in moved else next(rest) for axis in range(rank)]
    return emitter.emit("Transpose", [emitter.value(node.args[0])], perm=order)


def _slice(emitter: Emitter, node: fx.Node) -> str:
    """Write a slice; one of the whole axis needs no node."""
    values, name = arguments_of(node), emitter.value(node.args[0])
    start, end, step = values["start"] or 0, values["end"], values["step"]
    if isinstance(end, int | None):
        end = END if end is None else min(end, END)
    if (start, end, step) == (0, END, 1):
        return name
    return emitter.slice(name, values["dim"], start, end, step)


def _narrow(emitter: Emitter, node: fx.Node) -> str:
    values, name = arguments_of(node), emitter.value(node.args[0])
    start = values["start"]
    return emitter.slice(name, values["dim"], start, start + values["length"])


def _select(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    index = emitter.scalar(values["index"], torch.int64)
    return emitter.emit("Gather", [emitter.value(node.args[0]), index], axis=values["dim"])


def _index(emitter: Emitter, node: fx.Node) -> str:
    """Write the entries of one axis at a vector of places."""
    values = arguments_of(node)
    places, axis = values.get("index"), values.get("dim", 0)
    if "indices" in values:
        indexed = [(axis, x) for axis, x in enumerate(values["indices"]) if x is not None]
        axis, places = indexed[0]
        if len(indexed) > 1:
            raise unknown(node)
    if value_of(places).dtype != torch.int64:
        raise unknown(node)
    return emitter.emit("Gather", [emitter.value(node.args[0]), emitter.value(places)], axis=axis)


def _pieces(emitter: Emitter, node: fx.Node) -> str:
    """Return the value itself; it is cut where a piece is read."""
    first = node.args[0]
    return emitter.value(first) if isinstance(first, fx.Node) else ""


def _piece(emitter: Emitter, node: fx.Node) -> str:
    """Write one piece of a chunk, split, unbind or meshgrid."""
    source, number = node.args[:2]
    assert isinstance(source, fx.Node)
    assert isinstance(number, int)
    kind, pieces = operator_name(source), emitter.outputs.get(source, [])
    if number < len(pieces):
        return pieces[number]
    if kind not in PIECES:
        raise unknown(node)
    if kind == "meshgrid":
        return _grid(emitter, source, number)
    name, values = emitter.value(source), arguments_of(source)
    if kind == "unbind":
        return emitter.emit(
            "Gather", [name, emitter.scalar(number, torch.int64)], axis=values["dim"]
        )
    axis = (1 if kind == "hsplit" else values["dim"]) % value_of(node).dim()
    sides = [piece[axis] for piece in source.meta["sides"]]
    if all(side.fixed for side in sides[: number + 1]):
        start = sum(side.first for side in sides[:number])
        return emitter.slice(name, axis, start, start + sides[number].first)
    start, end = _ends(emitter, source, axis, number)
    return emitter.slice(name, axis, start, end)


def _ends(emitter: Emitter, source: fx.Node, axis: int, number: int) -> list[str]:
    """Return the start and end of a piece, along an axis that follows the size."""
    values = arguments_of(source)
    if "split_sizes" in values:
        start = sum(values["split_sizes"][:number])
        return [emitter.size(n) for n in (start, start + values["split_sizes"][number])]
    if isinstance(values.get("split_size"), int):
        each = emitter.integers([values["split_size"]])
    elif "chunks" in values:  # rounded up, as torch does
        count, rest = (emitter.integers([values["chunks"] - n]) for n in (0, 1))
        most = emitter.emit("Add", [emitter.side(source.args[0], axis), rest])
        each = emitter.emit("Div", [most, count])
    else:
        raise unknown(source)
    return [emitter.emit("Mul", [each, emitter.integers([n])]) for n in (number, number + 1)]


def _grid(emitter: Emitter, source: fx.Node, number: int) -> str:
    """Write one tensor of a meshgrid: a vector along its axis, repeated along the others."""
    values = arguments_of(source)
    vectors, rank = values["tensors"], len(values["tensors"])
    places = list(range(rank))
    if values.get("indexing") == "xy" and rank > 1:
        places[:2] = [1, 0]
    along = [-1 if axis == places[number] else 1 for axis in range(rank)]
    name = emitter.emit("Reshape", [emitter.value(vectors[number]), emitter.integers(along)])
    lengths = [emitter.side(vectors[places.index(axis)], 0) for axis in range(rank)]
    return emitter.emit("Expand", [name, emitter.sizes(lengths)])


def _glu(emitter: Emitter, node: fx.Node) -> str:
    axis, name = arguments_of(node)["dim"], emitter.value(node.args[0])
    side = sides_of(node)[axis]
    half: Any = side.first
    if not side.fixed:
        half = emitter.emit("Div", [emitter.side(node.args[0], axis), emitter.integers([2])])
    gate = emitter.emit("Sigmoid", [emitter.slice(name, axis, half, END)])
    return emitter.emit("Mul", [emitter.slice(name, axis, 0, half), gate])


def _stack(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    axis = values["dim"] % value_of(node).dim()
    axes = emitter.integers([axis])
    operands = [emitter.emit("Unsqueeze", [emitter.value(p), axes]) for p in values["tensors"]]
    return emitter.emit("Concat", operands, axis=axis)


def _flip(emitter: Emitter, node: fx.Node) -> str:
    name = emitter.value(node.args[0])
    named = {"fliplr": [1], "flipud": [0]}.get(operator_name(node))
    for axis in named or arguments_of(node)["dims"]:
        name = emitter.slice(name, axis, -1, -(2**31), -1)
    return name


def _roll(emitter: Emitter, node: fx.Node) -> str:
    """Write a roll: the entries from -shift on, modulo the length, come first."""
    values, name = arguments_of(node), emitter.value(node.args[0])
    if not values["dims"]:
        raise unknown(node)
    for shift, axis in zip(values["shifts"], values["dims"], strict=True):
        length = emitter.side(node.args[0], axis)
        place = emitter.emit("Mod", [emitter.size(-shift), length])
        ends = [emitter.slice(name, axis, place, END), emitter.slice(name, axis, 0, place)]
        name = emitter.emit("Concat", ends, axis=axis % value_of(node).dim())
    return name


SHAPES: dict[str, Callable[[Emitter, fx.Node], str]] = {
    **dict.fromkeys(RESHAPES, _reshape), **dict.fromkeys(PIECES, _pieces), "getitem": _piece,
    "squeeze": _axes, "unsqueeze": _axes,
    "expand": _expand, "broadcast_to": _expand, "expand_as": _expand_as,
    "repeat": _repeat, "tile": _repeat, "repeat_interleave": _repeat_interleave,
    "permute": _permute, "transpose": _permute, "swapaxes": _permute, "swapdims": _permute,
    "mT": _permute, "numpy_T": _permute, "t": _permute, "movedim": _movedim,
    "slice": _slice, "narrow": _narrow, "select": _select, "index": _index,
    "index_select": _index,
    "glu": _glu, "stack": _stack, "flip": _flip, "fliplr": _flip, "flipud": _flip, "roll": _roll,
}  # fmt: skip
