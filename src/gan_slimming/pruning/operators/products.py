"""Sums over channels as contractions of labelled axes, and the matrix products.

A channel that is summed over must be zero, once dead, on one side of the product. Any other channel
passes on to the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from torch import fx

from gan_slimming.graph.nodes import arguments_of, value_of
from gan_slimming.pruning.operators.handler import Handler, Operand, meet
from gan_slimming.pruning.operators.shapes import moved
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Factor, Value


@dataclass(frozen=True)
class Labelled:
    """A tensor with a letter for each axis."""

    value: Value
    shape: Sequence[int]
    labels: str


def contract(walk: Propagation, sides: Sequence[Labelled], result: str) -> Value:
    """Sum over all labels that are not in the result."""
    every = "".join(dict.fromkeys("".join(side.labels for side in sides)))
    operands = [_spread(walk, side, every) for side in sides]
    value = meet(walk, operands, len(every), lambda zeros: reduce(walk.zeros.either, zeros))
    kept, summed = [], [every.index(label) for label in every if label not in result]
    for factor in value.factors:
        if any(axis in factor.varies for axis in summed):
            walk.read(factor)
        else:
            order = [every.index(label) for label in result] + summed
            grids = [
                grid.transpose(order).reshape([grid.shape[every.index(label)] for label in result])
                for grid in (factor.slots, factor.zero)
            ]
            kept.append(Factor(*grids))
    return Value(tuple(kept), "a product makes it")


def _spread(walk: Propagation, side: Labelled, every: str) -> Operand:
    """Return the tensor with an axis for every label, of length 1 for those it lacks."""
    if len(set(side.labels)) < len(side.labels):
        walk.protect_all(side.value, "a diagonal of it is taken")
        return Operand(Value(fixed=side.value.fixed), [1] * len(every))
    order = [side.labels.index(label) for label in every if label in side.labels]
    missing = tuple(n for n, label in enumerate(every) if label not in side.labels)
    shape = [side.shape[axis] for axis in order]
    for place in missing:
        shape.insert(place, 1)
    value = moved(side.value, lambda grid: np.expand_dims(grid.transpose(order), missing))
    return Operand(value, shape)


def matmul(walk: Propagation, node: fx.Node) -> Value:
    """Handle matmul, mm and bmm: the left's last axis with the right's last but one."""
    left, right = value_of(node.args[0]), value_of(node.args[1])
    batch = "".join(chr(ord("a") + n) for n in range(max(left.dim(), right.dim()) - 2))
    first = (batch + "xy")[-left.dim() :] if left.dim() > 1 else "y"
    second = (batch + "yz")[-right.dim() :] if right.dim() > 1 else "y"
    result = batch + ("x" if left.dim() > 1 else "") + ("z" if right.dim() > 1 else "")
    sides = [
        Labelled(walk.value(node.args[0]), left.shape, first),
        Labelled(walk.value(node.args[1]), right.shape, second),
    ]
    return contract(walk, sides, result)


def add_matmul(walk: Propagation, node: fx.Node) -> Value:
    """Handle addmm and baddbmm: a tensor plus a product."""
    added, left, right = (value_of(node.args[n]) for n in range(3))
    batch = "a" if left.dim() == 3 else ""
    sides = [
        Labelled(walk.value(node.args[1]), left.shape, batch + "xy"),
        Labelled(walk.value(node.args[2]), right.shape, batch + "yz"),
    ]
    product = contract(walk, sides, batch + "xz")
    operands = [
        Operand(walk.value(node.args[0]), added.shape), Operand(product, value_of(node).shape)
    ]  # fmt: skip
    return meet(walk, operands, left.dim(), lambda zeros: reduce(walk.zeros.both, zeros))


def einsum(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle einsum by its equation."""
    equation, tensors = node.args[:2]
    assert isinstance(equation, str)
    assert isinstance(tensors, (list, tuple))
    equation = equation.replace(" ", "")
    if "..." in equation:
        return walk.barrier(node, "its product has an ellipsis")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = "".join(terms)
        right = "".join(sorted(x for x in set(letters) if letters.count(x) == 1))
    sides = [
        Labelled(walk.value(t), value_of(t).shape, term)
        for t, term in zip(tensors, terms, strict=True)
    ]
    return contract(walk, sides, right)


def attention(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle softmax(q k^T * scale) v; the default scale depends on the channels of q and k."""
    values = arguments_of(node)
    query, key, value = (values[name] for name in ("query", "key", "value"))
    rank = value_of(query).dim()
    batch = "".join(chr(ord("a") + n) for n in range(rank - 2))
    if values.get("enable_gqa"):
        return walk.barrier(node, "its heads share keys")
    if values.get("scale") is None:
        for side in (query, key):
            for factor in walk.value(side).factors:
                if rank - 1 in factor.varies:
                    walk.protect(factor.slots, "the scale of an attention depends on its number")
    pair = [
        Labelled(walk.value(query), value_of(query).shape, batch + "ld"),
        Labelled(walk.value(key), value_of(key).shape, batch + "sd"),
    ]
    logits = contract(walk, pair, batch + "ls")
    walk.protect_all(logits, "an attention has it among its pixels")
    if isinstance(values.get("attn_mask"), fx.Node):
        walk.protect_all(walk.value(values["attn_mask"]), "it is an attention mask")
    weights = [*value_of(query).shape[:-1], value_of(key).shape[-2]]
    return contract(
        walk,
        [
            Labelled(Value(), [1] * (rank - 2) + weights[rank - 2 :], batch + "ls"),
            Labelled(walk.value(value), value_of(value).shape, batch + "se"),
        ],
        batch + "le",
    )


TABLE: dict[str, Handler] = {
    "matmul": matmul, "mm": matmul, "bmm": matmul, "mv": matmul, "dot": matmul,
    "addmm": add_matmul, "baddbmm": add_matmul, "einsum": einsum,
    "scaled_dot_product_attention": attention,
}  # fmt: skip
