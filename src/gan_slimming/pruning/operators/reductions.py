"""Reductions: over pixels they keep channels, over channels they mix them."""

from __future__ import annotations

import numpy as np
from torch import fx

from gan_slimming.graph.nodes import arguments_of, operator_name, value_of
from gan_slimming.pruning.operators.handler import Handler, per_channel
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Factor, Value, tied_along


def _axes(node: fx.Node) -> list[int]:
    values = arguments_of(node)
    dims = values.get("dim")
    rank = value_of(node.args[0]).dim()
    if dims is None or dims == []:
        return list(range(rank))
    return [int(d) % rank for d in (dims if isinstance(dims, (list, tuple)) else [dims])]


def _kept(node: fx.Node, factor: Factor, axes: list[int]) -> Factor:
    if arguments_of(node).get("keepdim"):
        return factor
    squeezed = [axis for axis in axes if axis < factor.slots.ndim]
    return Factor(
        np.squeeze(factor.slots, tuple(squeezed)), np.squeeze(factor.zero, tuple(squeezed))
    )


def add_up(walk: Propagation, node: fx.Node) -> Value:
    """Handle sums, and norms made of them: dead channels add nothing if they are zero."""
    return _reduce(walk, node, summed=True)


def mix(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle means, variances and extremes, which depend on the number of channels."""
    value = _reduce(walk, node, summed=False)
    made = node.meta["val"]
    return [value] * len(made) if isinstance(made, (list, tuple)) else value


def _reduce(walk: Propagation, node: fx.Node, *, summed: bool) -> Value:
    axes, name = _axes(node), operator_name(node)
    value = walk.value(node.args[0])
    factors = []
    for factor in value.factors:
        inside = [axis for axis in factor.varies if axis in axes]
        if len(inside) < len(factor.varies):
            tied = tied_along(factor, inside, walk.forest, walk.zeros)
            factors.append(_kept(node, tied, axes))
        elif summed:
            walk.read(factor)
        else:
            walk.protect_mixed(node, factor.slots, f"'{name}' over all its channels reads it")
    fixed = value.fixed if factors else f"'{name}' of channels makes it"
    return Value(tuple(factors), fixed)


def found_at(walk: Propagation, node: fx.Node) -> Value:
    """Handle reductions that map zeros to other values: log-sum-exp, argmax, any, all."""
    value = _reduce(walk, node, summed=False)
    never = walk.zeros.never(f"'{operator_name(node)}' of zero is not zero")
    made = [Factor(f.slots, np.full_like(f.zero, never)) for f in value.factors]
    return Value(tuple(made), value.fixed)


def softmax(walk: Propagation, node: fx.Node) -> Value:
    """Handle softmax: over pixels each channel is separate, over channels all are mixed."""
    why = f"'{operator_name(node)}' over all its channels reads it"
    value = per_channel(walk, walk.value(node.args[0]), _axes(node), why)
    never = walk.zeros.never(f"'{operator_name(node)}' of zero is not zero")
    made = [Factor(f.slots, np.full_like(f.zero, never)) for f in value.factors]
    return Value(tuple(made), value.fixed)


def cumulate(walk: Propagation, node: fx.Node) -> Value:
    """Handle running sums along pixels."""
    why = f"'{operator_name(node)}' over all its channels reads it"
    return per_channel(walk, walk.value(node.args[0]), _axes(node), why)


def vector_norm(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle (sum of |x| ** p) ** (1 / p): zeros add nothing for p > 0."""
    order = arguments_of(node).get("ord", arguments_of(node).get("p", 2))
    if not isinstance(order, (int, float)) or not 0 < order < float("inf"):
        return mix(walk, node)
    return add_up(walk, node)


TABLE: dict[str, Handler] = {
    "sum": add_up, "nansum": add_up, "linalg_vector_norm": vector_norm, "norm": vector_norm,
    "mean": mix, "var": mix, "std": mix, "var_mean": mix, "std_mean": mix, "amax": mix,
    "amin": mix, "aminmax": mix, "prod": mix, "median": mix,
    "logsumexp": found_at, "argmax": found_at, "argmin": found_at, "any": found_at,
    "all": found_at, "softmax": softmax, "log_softmax": softmax, "_softmax": softmax,
    "cumsum": cumulate,
}  # fmt: skip
