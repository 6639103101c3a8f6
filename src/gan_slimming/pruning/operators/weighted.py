"""Layers that sum over input channels and write output channels: convolution, linear, embedding."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from torch import fx, nn

from gan_slimming.graph.nodes import arguments_of, operator_name, value_of
from gan_slimming.graph.traced import GATEABLE
from gan_slimming.pruning.operators.handler import Handler, Operand, meet, per_channel
from gan_slimming.pruning.operators.products import Labelled, contract
from gan_slimming.pruning.operators.shapes import moved, reshaped
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Factor, Value, tied_along


def convolution(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle convolutions, including grouped, depthwise and transposed ones.

    In a grouped convolution, channel i of every group is one channel. The number of groups then
    stays, and all are equally wide. In a depthwise convolution, each group is a channel.
    """
    values = arguments_of(node)
    source, weight = value_of(node.args[0]), value_of(node.args[1])
    transposed, groups = "transpose" in operator_name(node), int(values["groups"])
    space = range(2, weight.dim())
    if source.dim() != weight.dim():
        return walk.barrier(node, "it is convolved without a batch")
    inputs, outputs = source.shape[1], value_of(node).shape[1]
    _name_channels(walk, node, groups)
    x = _without(per_channel(walk, walk.value(node.args[0]), space, "pixels are convolved"))
    w = _without(_kernel(walk, walk.value(node.args[1]), space))
    one_in, one_out = inputs // groups, outputs // groups
    sizes = [source.shape[0], groups, one_in]
    x = reshaped(walk, x, source.shape[:2], sizes, named=False)
    if one_in > 1 and groups > 1:  # channel i of every group is one
        tied = (tied_along(f, [1], walk.forest, walk.zeros) for f in x.factors)
        x = Value(tuple(tied), x.fixed)
    w = _grouped(walk, w, groups, depthwise=one_in == 1)
    left = Labelled(x, sizes, "ngi")
    right = (
        Labelled(w, [groups, one_in, one_out], "gio")
        if transposed
        else Labelled(w, [groups, one_out, one_in], "goi")
    )
    made = contract(walk, [left, right], "ngo")
    made = reshaped(
        walk, made, [source.shape[0], groups, one_out], [source.shape[0], outputs], named=False
    )
    made = _with_bias(walk, node, made, [source.shape[0], outputs], 1, grouped_transposed=(
        transposed and groups > 1
    ))  # fmt: skip
    walk.count_layer(node)
    return moved(made, lambda grid: grid.reshape(*grid.shape, *[1] * len(space)))


def _without(value: Value) -> Value:
    """Drop the spatial axes; batch and channels remain."""
    return moved(value, lambda grid: grid.reshape(grid.shape[:2]))


def _kernel(walk: Propagation, weight: Value, space: Sequence[int]) -> Value:
    """Return a weight without the axes of its kernel, which are never channels."""
    kept = [f for f in weight.factors if any(axis not in space for axis in f.varies)]
    return per_channel(walk, Value(tuple(kept), weight.fixed), space, "")


def _grouped(walk: Propagation, weight: Value, groups: int, depthwise: bool) -> Value:
    """Return a weight as (groups, first axis of one group, second axis), with groups tied.

    The first axis of a grouped weight counts the channels of all groups, the second those of one.
    """
    if groups == 1:
        return moved(weight, lambda grid: grid[None])
    made = []
    for factor in weight.factors:
        if factor.varies == [0]:
            rows = Factor(*(g.reshape(groups, -1, 1) for g in (factor.slots, factor.zero)))
            made.append(tied_along(rows, [1 if depthwise else 0], walk.forest, walk.zeros))
        elif depthwise:  # transposed, several outputs per input: none can be cut alone
            walk.protect(factor.slots, "a grouped transposed convolution writes it")
        else:
            made.append(Factor(*(g.reshape(1, 1, -1) for g in (factor.slots, factor.zero))))
    return Value(tuple(made), weight.fixed)


def _name_channels(walk: Propagation, node: fx.Node, groups: int) -> None:
    """Mark the axes of a weight that are channels."""
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    axes = [0] if groups > 1 and value_of(weight).shape[1] == 1 else [0, 1]
    walk.are_channels(walk.value(weight), axes)
    if weight.name in walk.tensors:
        walk.channels_on(walk.tensors[weight.name], *axes)


def linear(walk: Propagation, node: fx.Node) -> Value:
    """Handle x W^T + b over the last axis, for any number of axes before it."""
    source, weight = value_of(node.args[0]), value_of(node.args[1])
    front = "".join(chr(ord("a") + n) for n in range(source.dim() - 1))
    assert isinstance(node.args[1], fx.Node)
    walk.are_channels(walk.value(node.args[1]), [0, 1])
    if node.args[1].name in walk.tensors:
        walk.channels_on(walk.tensors[node.args[1].name], 0, 1)
    left = Labelled(walk.value(node.args[0]), source.shape, front + "y")
    right = Labelled(walk.value(node.args[1]), weight.shape, "zy")
    made = contract(walk, [left, right], front + "z")
    walk.count_layer(node)
    return _with_bias(walk, node, made, list(value_of(node).shape), source.dim() - 1)


def _with_bias(
    walk: Propagation, node: fx.Node, made: Value, shape: list[int], axis: int,
    *, grouped_transposed: bool = False,
) -> Value:  # fmt: skip
    """Add the bias and, in a layer's forward, the layer's gate on its output channels.

    A depthwise convolution without bias needs no gate of its own: zeros stay zeros.
    """
    weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    operands = [Operand(made, shape)]
    if isinstance(bias, fx.Node):
        if bias.name in walk.tensors:
            walk.channels_on(walk.tensors[bias.name], 0)
        rank = len(shape) - axis
        value = moved(walk.value(bias), lambda grid: grid.reshape(-1, *[1] * (rank - 1)))
        operands.append(Operand(value, [shape[axis], *[1] * (rank - 1)]))
    made = meet(walk, operands, len(shape), lambda zeros: reduce(walk.zeros.both, zeros))
    factors = []
    for factor in made.factors:
        gate = ""
        if factor.varies == [axis] and not grouped_transposed:
            gate = walk.layer_gate(node, factor.slots.ravel(), weight, bias)
        elif grouped_transposed and type(_layer(walk, node)) in GATEABLE:
            never = walk.zeros.never("a grouped transposed convolution writes it")
            bad = ~walk.zeros.possible(factor.zero)
            factor = Factor(factor.slots, np.where(bad, never, factor.zero))
        if gate:
            own = np.full_like(factor.zero, walk.zeros.intern(frozenset({gate})))
            factor = Factor(factor.slots, walk.zeros.either(factor.zero, own))
        factors.append(factor)
    return Value(tuple(factors), made.fixed)


def _layer(walk: Propagation, node: fx.Node) -> nn.Module:
    return walk.module.get_submodule(walk.path(node))


def embedding(walk: Propagation, node: fx.Node) -> Value:
    """Handle rows of a table, whose columns are channels of the result."""
    table, indices = node.args[:2]
    assert isinstance(table, fx.Node)
    rank = value_of(indices).dim() + 1
    if table.name in walk.tensors:
        walk.channels_on(walk.tensors[table.name], 1)
    found = [f for f in walk.value(table).factors if f.varies == [1]]
    value = Value(tuple(found), "it is an embedding")
    return moved(value, lambda grid: grid.reshape(*[1] * (rank - 1), -1))


_CONVOLUTIONS = [f"{kind}{d}d" for kind in ("conv", "conv_transpose") for d in (1, 2, 3)]
TABLE: dict[str, Handler] = {
    **dict.fromkeys(_CONVOLUTIONS, convolution), "linear": linear, "embedding": embedding,
}  # fmt: skip
