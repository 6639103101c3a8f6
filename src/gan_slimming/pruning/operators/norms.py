"""Norms: they carry gates, and those over channels count dead channels as zeros."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from torch import fx, nn

from gan_slimming.graph.nodes import arguments_of, operator_name, value_of
from gan_slimming.pruning.operators.handler import Handler, Operand, meet, per_channel
from gan_slimming.pruning.operators.shapes import moved
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.pruned_norms import PRUNED_NORMS
from gan_slimming.pruning.values import Factor, Value


def by_channel(walk: Propagation, node: fx.Node) -> Value:
    """Handle BatchNorm and InstanceNorm: scale * (x - mean) / deviation + shift per channel.

    With the statistics of the image, a channel of zeros stays zero up to the shift. With running
    statistics it becomes a constant, which only a gate on scale and shift can silence.
    """
    values = arguments_of(node)
    source = values["input"]
    own = values.get("use_input_stats", values["running_mean"] is None)
    why = "" if own else "a normalisation by fixed statistics writes it"
    return _scaled(walk, node, walk.value(source), values, why)


def _scaled(
    walk: Propagation, node: fx.Node, value: Value, values: dict[str, Any], why: str
) -> Value:
    """Return the value normalised, scaled, shifted and gated along axis 1.

    Args:
        why: why a channel of zeros does not stay zero; '' where it does, up to the shift.
    """
    source = value_of(node.args[0])
    value = per_channel(walk, value, range(2, source.dim()), "its pixels are normalised")
    names = ("weight", "bias", "running_mean", "running_var")
    given = {name: values[name] for name in names if values.get(name) is not None}
    operands = [Operand(value, (1, source.shape[1], *[1] * (source.dim() - 2)))]
    for argument in given.values():
        walk.channels_on(walk.tensors[argument.name], 0) if argument.name in walk.tensors else None
        operands.append(Operand(_on_axis_one(walk.value(argument), source.dim()), ()))
        shape = value_of(argument).shape
        operands[-1] = Operand(operands[-1].value, (shape[0], *[1] * (source.dim() - 2)))
    places = {name: 1 + number for number, name in enumerate(given)}

    def rule(zeros: list[np.ndarray]) -> np.ndarray:
        core = np.full_like(zeros[0], walk.zeros.never(why)) if why else zeros[0]
        scaled = walk.zeros.either(core, zeros[places["weight"]]) if "weight" in places else core
        if "bias" in places:
            scaled = walk.zeros.both(scaled, zeros[places["bias"]])
        return scaled

    result = meet(walk, operands, source.dim(), rule)
    return _gated(walk, node, result, 1, [given.get("weight"), given.get("bias")])


def _gated(
    walk: Propagation, node: fx.Node, value: Value, axis: int, parameters: list[Any]
) -> Value:
    """Add the gate of the layer that makes this call, if there is one."""
    factors = []
    for factor in value.factors:
        gate = ""
        if factor.varies == [axis]:
            gate = walk.layer_gate(node, factor.slots.ravel(), *parameters)
        zero = walk.zeros.intern(frozenset({gate})) if gate else None
        factors.append(factor if zero is None else Factor(factor.slots, factor.zero * 0 + zero))
    return Value(tuple(factors), value.fixed)


def _on_axis_one(value: Value, rank: int) -> Value:
    """Shape a vector of one number per channel to broadcast over a feature map."""
    return moved(value, lambda grid: grid.reshape(-1, *[1] * (rank - 2)))


def over_groups(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle GroupNorm: whole sets of channels live or die, and num_groups falls with them.

    Such a set counts as one channel. A single set of all channels is pruned channel by channel.
    Where the forward itself names the number of sets, all channels stay.
    """
    values = arguments_of(node)
    source, count = value_of(node.args[0]), int(values["num_groups"])
    value = walk.value(node.args[0])
    layer = walk.module.get_submodule(walk.path(node))
    value = per_channel(walk, value, range(2, source.dim()), "its pixels are normalised")
    reason = f"a normalisation over {count} sets of channels reads it"
    for factor in value.factors:
        if 1 not in factor.varies:
            continue
        if count == 1:
            _mixed(walk, node, factor, reason)
            continue
        if type(layer) is not nn.GroupNorm:
            walk.protect(factor.slots, reason)
            continue
        rows = np.moveaxis(factor.slots, 1, 0)
        sets = rows.reshape(count, -1, *rows.shape[1:])
        walk.join(sets[:, :1], sets)
    why = "a normalisation over all channels writes it" if count == 1 else ""
    return _scaled(walk, node, value, values, why)


def _mixed(walk: Propagation, node: fx.Node, factor: Factor, reason: str) -> None:
    """Read channels that share a norm's mean, so that dead ones must be zero at its input.

    Only layers of torch with a scale can be pruned; others keep their channels.
    """
    layer = walk.module.get_submodule(walk.path(node))
    if type(layer) in PRUNED_NORMS and layer.weight is not None:
        walk.read(factor)
    else:
        walk.protect_mixed(node, factor.slots, reason)


def over_last(walk: Propagation, node: fx.Node) -> Value:
    """Handle LayerNorm over channels, which is pruned; RMSNorm and others keep their channels."""
    values = arguments_of(node)
    source = value_of(node.args[0])
    first, last = source.dim() - len(values["normalized_shape"]), source.dim() - 1
    reason = f"'{operator_name(node)}' over all its channels reads it"
    for factor in walk.value(node.args[0]).factors:
        if factor.varies == [last] == [first]:
            _mixed(walk, node, factor, reason)
        elif any(axis >= first for axis in factor.varies):
            walk.protect_mixed(node, factor.slots, reason)
    operands = [Operand(walk.value(node.args[0]), source.shape)]
    for name in ("weight", "bias"):
        argument = values.get(name)
        if argument is None:
            continue
        if argument.name in walk.tensors:
            walk.channels_on(walk.tensors[argument.name], value_of(argument).dim() - 1)
        operands.append(Operand(walk.value(argument), value_of(argument).shape))
    rule_of = walk.zeros.both if values.get("bias") is not None else walk.zeros.either
    value = meet(walk, operands, source.dim(), lambda zeros: reduce(rule_of, zeros))
    never = walk.zeros.never(f"'{operator_name(node)}' over all its channels writes it")
    factors = [
        Factor(f.slots, np.full_like(f.zero, never)) if any(a >= first for a in f.varies) else f
        for f in value.factors
    ]
    parameters = [values["weight"], values.get("bias")]
    return _gated(walk, node, Value(tuple(factors), value.fixed), last, parameters)


TABLE: dict[str, Handler] = {
    "batch_norm": by_channel, "instance_norm": by_channel,
    "group_norm": over_groups, "layer_norm": over_last, "rms_norm": over_last,
}  # fmt: skip
