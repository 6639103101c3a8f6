"""Concatenation and stacking."""

from __future__ import annotations

from functools import reduce

import numpy as np
from torch import Tensor, fx

from gan_slimming.graph.nodes import arguments_of, value_of
from gan_slimming.pruning.operators.handler import Handler, Operand, meet
from gan_slimming.pruning.operators.shapes import inserted
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Factor, Value, tied_along


def cat(walk: Propagation, node: fx.Node) -> Value:
    """Handle concatenation: channels follow each other along its axis, and are tied elsewhere."""
    values = arguments_of(node)
    rank = value_of(node).dim()
    parts = [part for part in values["tensors"] if value_of(part).numel()]
    return concatenated(walk, parts, [walk.value(p) for p in parts], values["dim"] % rank)


def concatenated(walk: Propagation, parts: list[fx.Node], values: list[Value], axis: int) -> Value:
    """Return the value of tensors concatenated along an axis."""
    shapes = [list(value_of(part).shape) for part in parts]
    along, others = [], []
    for value in values:
        along.append([factor for factor in value.factors if axis in factor.varies])
        rest = tuple(factor for factor in value.factors if axis not in factor.varies)
        others.append(Value(rest, value.fixed))
    rank = len(shapes[0])
    beside = [
        Operand(other, [1 if a == axis else size for a, size in enumerate(shape)])
        for other, shape in zip(others, shapes, strict=True)
    ]
    result = meet(walk, beside, rank, lambda z: reduce(walk.zeros.both, z))
    if not any(along):
        return result
    rows = [
        _row(walk, found, value, shape, axis)
        for found, value, shape in zip(along, values, shapes, strict=True)
    ]
    joined = Factor(
        np.concatenate([row.slots for row in rows], axis),
        np.concatenate([row.zero for row in rows], axis),
    )
    return Value((*result.factors, joined), result.fixed)


def _row(
    walk: Propagation, found: list[Factor], value: Value, shape: list[int], axis: int
) -> Factor:
    """Return the slots of one part along the axis; a part without any gets protected ones."""
    if found:
        tied = [
            tied_along(f, [a for a in f.varies if a != axis], walk.forest, walk.zeros)
            for f in found
        ]
        for other in tied[1:]:
            walk.join(tied[0].slots, other.slots)
        return Factor(tied[0].slots, reduce(walk.zeros.either, [t.zero for t in tied]))
    grid = [shape[axis] if a == axis else 1 for a in range(len(shape))]
    slots = walk.forest.fresh(shape[axis]).reshape(grid)
    walk.protect(slots, value.fixed)
    return Factor(slots, np.full(grid, walk.zeros.never(value.fixed)))


def stack(walk: Propagation, node: fx.Node) -> Value:
    """Handle stacking on a new axis: channel i of all parts is one channel."""
    values = arguments_of(node)
    made = node.meta["val"]
    assert isinstance(made, Tensor)
    axis = values["dim"] % made.dim()
    shape = [1 if a == axis else size for a, size in enumerate(made.shape)]
    operands = [Operand(inserted(walk.value(p), axis), shape) for p in values["tensors"]]
    return meet(walk, operands, made.dim(), lambda z: reduce(walk.zeros.both, z))


TABLE: dict[str, Handler] = {"cat": cat, "concat": cat, "concatenate": cat, "stack": stack}
