"""Operators that take parts of a tensor: slices, chunks, single entries."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
from torch import Tensor, fx

from gan_slimming.graph.nodes import arguments_of, value_of
from gan_slimming.pruning.operators.handler import Handler
from gan_slimming.pruning.operators.shapes import moved
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Factor, Value, tied_along

BY_NUMBER = "its forward takes single channels by number"


def getitem(walk: Propagation, node: fx.Node) -> Value:
    """Return one of several results of a call."""
    source, index = node.args[:2]
    assert isinstance(source, fx.Node)
    found = walk.values[source]
    assert isinstance(found, list)
    return found[operator.index(index)]  # pyright: ignore[reportArgumentType]


def chunk(walk: Propagation, node: fx.Node) -> list[Value]:
    """Handle chunk, split and the like: equal pieces are tied, so that each keeps its share."""
    source = value_of(node.args[0])
    axis = int(arguments_of(node)["dim"]) % source.dim()
    made = node.meta["val"]
    assert isinstance(made, (list, tuple))
    return pieces(walk, walk.value(node.args[0]), axis, [piece.shape[axis] for piece in made])


def pieces(walk: Propagation, value: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    """Return adjacent parts of these sizes along an axis."""
    for factor in value.factors:
        if axis not in factor.varies:
            continue
        if len(set(sizes)) == 1:
            _tie_blocks(walk, factor, axis, sizes[0])
        else:
            walk.named.append(factor.slots.ravel())
    ends = np.cumsum([0, *sizes])
    return [
        moved(value, lambda g, a=a, b=b: g if g.shape[axis] == 1 else g.take(range(a, b), axis))
        for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]


def _tie_blocks(walk: Propagation, factor: Factor, axis: int, size: int) -> None:
    """Tie channel i of all blocks of this size into one channel."""
    rows = np.moveaxis(factor.slots, axis, 0)
    blocks = rows.reshape(-1, size, *rows.shape[1:])
    walk.join(blocks[:1], blocks)
    walk.named.append(factor.slots.ravel())


def slice_(walk: Propagation, node: fx.Node) -> Value:
    """Handle x[start:end:step]: one of equal parts, else channels counted by the forward."""
    values = arguments_of(node)
    source, value = value_of(node.args[0]), walk.value(node.args[0])
    axis = int(values["dim"]) % source.dim()
    size = source.shape[axis]
    if "length" in values:  # narrow
        start, stop, step = values["start"], values["start"] + values["length"], 1
    else:
        start, stop, step = values["start"], values["end"], values["step"]
    if isinstance(start, fx.Node):
        walk.protect_all(value, BY_NUMBER)
        start, stop = 0, value_of(node).shape[axis]
    places = np.arange(size)[slice(start, stop, step)]
    if len(places) == size:
        return value
    for factor in (f for f in value.factors if axis in f.varies):
        _tie_slice(walk, factor, axis, places, step)
    return moved(value, lambda grid: grid if grid.shape[axis] == 1 else grid.take(places, axis))


def _tie_slice(walk: Propagation, factor: Factor, axis: int, places: np.ndarray, step: int) -> None:
    size, first = factor.slots.shape[axis], int(places[0]) if len(places) else 0
    if step == 1 and len(places) and size % len(places) == 0 and first % len(places) == 0:
        _tie_blocks(walk, factor, axis, len(places))
    elif step > 1 and size % step == 0 and len(places) == size // step:
        rows = np.moveaxis(factor.slots, axis, 0)
        neighbours = rows.reshape(-1, step, *rows.shape[1:])
        walk.join(neighbours[:, :1], neighbours)
        walk.named.append(factor.slots.ravel())
    else:  # counted by the forward: the verified cut shows whether the count adapts
        walk.named.append(factor.slots.ravel())


def select(walk: Propagation, node: fx.Node) -> Value:
    """Handle x[i]: protect channels on that axis, and tie others along it."""
    axis = int(arguments_of(node)["dim"]) % value_of(node.args[0]).dim()
    return _entries(walk, walk.value(node.args[0]), axis)


def unbind(walk: Propagation, node: fx.Node) -> list[Value]:
    """Return all entries along an axis."""
    axis = int(arguments_of(node)["dim"]) % value_of(node.args[0]).dim()
    made = node.meta["val"]
    assert isinstance(made, (list, tuple))
    return [_entries(walk, walk.value(node.args[0]), axis)] * len(made)


def _entries(walk: Propagation, value: Value, axis: int) -> Value:
    factors = []
    for factor in value.factors:
        if factor.varies == [axis]:
            walk.protect(factor.slots, BY_NUMBER)
            continue
        tied = tied_along(factor, [axis], walk.forest, walk.zeros)
        factors.append(Factor(tied.slots.squeeze(axis), tied.zero.squeeze(axis)))
    return Value(tuple(factors), value.fixed)


def index(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle x[:, indices] along one axis without channels."""
    value = walk.value(node.args[0])
    indices = node.args[1]
    assert isinstance(indices, (list, tuple))
    used = [axis for axis, entry in enumerate(indices) if entry is not None]
    entry = indices[used[0]]
    one = len(used) == 1 and isinstance(entry, fx.Node) and value_of(entry).dim() == 1
    if not one or not isinstance(node.meta["val"], Tensor):
        return walk.barrier(node, BY_NUMBER)
    return _picked(walk, value, used[0], value_of(node).shape[used[0]])


def index_select(walk: Propagation, node: fx.Node) -> Value:
    """Handle x.index_select(dim, indices)."""
    axis = int(arguments_of(node)["dim"]) % value_of(node).dim()
    return _picked(walk, walk.value(node.args[0]), axis, value_of(node).shape[axis])


def _picked(walk: Propagation, value: Value, axis: int, size: int) -> Value:
    kept = []
    for factor in value.factors:
        if axis in factor.varies:
            walk.protect(factor.slots, BY_NUMBER)
        else:
            kept.append(factor)
    del size
    return Value(tuple(kept), value.fixed)


def flip(walk: Propagation, node: fx.Node) -> Value:
    """Handle flips along any axes, channels included."""
    dims = tuple(arguments_of(node)["dims"])
    return moved(walk.value(node.args[0]), lambda grid: np.flip(grid, dims))


def roll(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle rolls along axes without channels; channels on a rolled axis are protected."""
    values = arguments_of(node)
    dims = [int(d) % value_of(node).dim() for d in values["dims"]]
    value = walk.value(node.args[0])
    if not dims or any(axis in f.varies for f in value.factors for axis in dims):
        return walk.barrier(node, "it is rolled along its channels")
    return value


TABLE: dict[str, Handler] = {
    "getitem": getitem, "chunk": chunk, "split": chunk, "split_with_sizes": chunk,
    "unsafe_chunk": chunk, "unsafe_split": chunk, "tensor_split": chunk, "unbind": unbind,
    "slice": slice_, "narrow": slice_, "select": select,
    "index": index, "index_select": index_select, "flip": flip, "roll": roll,
}  # fmt: skip
VIEWS = frozenset(
    {"getitem", "chunk", "split", "split_with_sizes", "unbind", "slice", "narrow", "select"}
)
