"""Elementwise operators: their value at zero decides what becomes of a dead channel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from torch import Tensor, fx

from gan_slimming.graph.nodes import arguments_of, operator_name, value_of
from gan_slimming.pruning.operators.handler import Handler, Operand, Rule, meet
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Factor, Value

KEEP = frozenset(
    "relu leaky_relu relu6 tanh elu selu celu gelu silu hardswish mish neg abs dropout rrelu "  # noqa: SIM905
    "feature_dropout alpha_dropout clone contiguous detach alias to type_as _to_copy sign square "
    "sqrt sin tan asin atan erf expm1 log1p floor ceil round trunc hardshrink softshrink sinh "
    "asinh nan_to_num lift_fresh_copy positive float double half".split()
)
"""Operators with f(0) = 0."""
LOSE = frozenset(
    "sigmoid hardsigmoid softplus exp cos cosh log_sigmoid erfc logical_not bitwise_not isnan "  # noqa: SIM905
    "ones_like full_like".split()
)
"""Operators with any other finite f(0), harmless where it is multiplied by zero."""
BREAK = frozenset({"reciprocal", "rsqrt", "log", "log2", "log10", "logit"})
"""Operators with infinite or undefined f(0), which no multiplication removes."""
RANDOM = frozenset(
    "rand_like randn_like bernoulli empty_like randint_like normal uniform exponential".split()  # noqa: SIM905
)
COMPARE = frozenset({"gt", "lt", "ge", "le", "eq", "ne", "logical_and", "logical_or"})


def keeps_zero(name: str) -> bool:
    """Return whether an operator of one argument maps zero to zero."""
    return name.removesuffix("_") in KEEP


def _with_zero(value: Value, zero: int) -> Value:
    made = [Factor(f.slots, np.full_like(f.zero, zero)) for f in value.factors]
    return Value(tuple(made), value.fixed)


def keep(walk: Propagation, node: fx.Node) -> Value:
    """Pass zeros on: f(0) = 0, so a dead channel stays zero."""
    return walk.value(node.args[0])


def lose(walk: Propagation, node: fx.Node) -> Value:
    """Mark the result as never zero, because f(0) is another constant."""
    why = f"'{operator_name(node)}' of zero is not zero"
    return _with_zero(walk.value(node.args[0]), walk.zeros.never(why))


def break_(walk: Propagation, node: fx.Node) -> Value:
    """Protect channels that gates could make zero, because f(0) is infinite."""
    for factor in walk.value(node.args[0]).factors:
        possible = walk.zeros.possible(factor.zero)
        walk.protect(factor.slots[possible], f"'{operator_name(node)}' of zero is infinite")
    return lose(walk, node)


def random(walk: Propagation, node: fx.Node) -> Value:
    """Protect all channels, because a cut would change the random numbers drawn."""
    value = walk.value(node.args[0])
    walk.protect_all(value, "as many random numbers are drawn as it has channels")
    return lose(walk, node)


def zeros_like(walk: Propagation, node: fx.Node) -> Value:
    """Return zeros, whatever the gates are."""
    return _with_zero(walk.value(node.args[0]), walk.zeros.intern(frozenset()))


def power(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle x ** p for a number p, or the exponential p ** x."""
    base, exponent = node.args[:2]
    if isinstance(exponent, (int, float)):
        return (keep if exponent > 0 else lose if exponent == 0 else break_)(walk, node)
    if isinstance(base, (int, float)):
        value = walk.value(exponent)
        return _with_zero(value, walk.zeros.never("'pow' of zero is not zero"))
    return walk.barrier(node, "its exponent is computed")


def clamp(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle clamp: zero stays where the limits include it."""
    values = arguments_of(node)
    low = values.get("min", values.get("min_val"))
    high = values.get("max", values.get("max_val"))
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        return walk.barrier(node, "its limits are computed")
    if low is not None and low > 0:
        why = "it is clamped above zero"
    elif high is not None and high < 0:
        why = "it is clamped below zero"
    else:
        return keep(walk, node)
    return _with_zero(walk.value(node.args[0]), walk.zeros.never(why))


def threshold(walk: Propagation, node: fx.Node) -> Value:
    """Handle x above the threshold, and a fixed value below."""
    values = arguments_of(node)
    return (keep if values["threshold"] < 0 or values["value"] == 0 else lose)(walk, node)


def operands_of(walk: Propagation, arguments: Sequence[object]) -> list[Operand]:
    """Return the arguments of a call as operands; a number has neither shape nor factors."""
    return [
        Operand(walk.value(a), value_of(a).shape if isinstance(a, fx.Node) else ())
        for a in arguments
    ]


def _elementwise(
    walk: Propagation, node: fx.Node, arguments: Sequence[object], rule: Rule
) -> Value:
    result = node.meta["val"]
    assert isinstance(result, Tensor)
    return meet(walk, operands_of(walk, arguments), result.dim(), rule)


def add(walk: Propagation, node: fx.Node) -> Value:
    """Handle sums, zero where both sides are; adding the number 0 changes nothing."""
    sides = [a for a in node.args[:2] if isinstance(a, fx.Node) or a != 0]
    return _elementwise(walk, node, sides, lambda z: reduce(walk.zeros.both, z))


def multiply(walk: Propagation, node: fx.Node) -> Value:
    """Handle products, zero where one side is."""
    sides = [a for a in node.args[:2] if isinstance(a, fx.Node)]
    return _elementwise(walk, node, sides, lambda z: reduce(walk.zeros.either, z))


def divide(walk: Propagation, node: fx.Node) -> Value:
    """Handle quotients: zero over non-zero is zero, and the divisor must never become zero."""
    over, under = node.args[:2]
    for factor in walk.value(under).factors:
        walk.protect(factor.slots[walk.zeros.possible(factor.zero)], "it is divided by")
    if not isinstance(over, fx.Node):
        return _with_zero(walk.value(under), walk.zeros.never("it is divided by"))
    sides = [a for a in (over, under) if isinstance(a, fx.Node)]
    return _elementwise(walk, node, sides, lambda z: z[0])


def extreme(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Handle the maximum or minimum of two tensors; of one tensor it is a reduction."""
    if len(node.args) < 2 or not isinstance(node.args[1], fx.Node):
        from gan_slimming.pruning.operators.reductions import mix

        return mix(walk, node)
    return _elementwise(walk, node, list(node.args[:2]), lambda z: reduce(walk.zeros.both, z))


def compare(walk: Propagation, node: fx.Node) -> Value:
    """Handle comparisons: the result is never followed as zero."""
    sides = [a for a in node.args[:2] if isinstance(a, fx.Node)]
    why = walk.zeros.never("a comparison is read as a number")
    return _elementwise(walk, node, sides, lambda z: np.full_like(z[0], why))


def where(walk: Propagation, node: fx.Node) -> Value:
    """Handle a choice between two tensors, zero where both are."""
    return _elementwise(walk, node, list(node.args[:3]), lambda z: walk.zeros.both(z[1], z[2]))


def masked_fill(walk: Propagation, node: fx.Node) -> Value:
    """Handle x, replaced by a value where the mask is true."""
    never = walk.zeros.never("it is filled with a value")
    zero = node.args[2] == 0
    return _elementwise(
        walk, node, list(node.args[:2]), lambda z: z[0] if zero else np.full_like(z[0], never)
    )


def lerp(walk: Propagation, node: fx.Node) -> Value:
    """Handle start + weight * (end - start)."""
    sides = [a for a in node.args[:3] if isinstance(a, fx.Node)]
    return _elementwise(walk, node, sides, lambda z: walk.zeros.both(z[0], z[1]))


def addcmul(walk: Propagation, node: fx.Node) -> Value:
    """Handle a + value * b * c."""
    return _elementwise(
        walk, node, list(node.args[:3]),
        lambda z: walk.zeros.both(z[0], walk.zeros.either(z[1], z[2])),
    )  # fmt: skip


def prelu(walk: Propagation, node: fx.Node) -> Value:
    """Handle PReLU, with one slope for all channels or one for each."""
    source, slope = node.args[:2]
    assert isinstance(slope, fx.Node)
    if value_of(slope).numel() == 1:
        return walk.value(source)
    if slope.name in walk.tensors:
        walk.channels_on(walk.tensors[slope.name], 0)
    rank = value_of(source).dim()
    shape = [-1, *[1] * (rank - 2)]
    slopes = [
        Factor(f.slots.reshape(shape), f.zero.reshape(shape)) for f in walk.value(slope).factors
    ]
    operands = [
        Operand(walk.value(source), value_of(source).shape),
        Operand(Value(tuple(slopes)), [value_of(slope).numel(), *shape[1:]]),
    ]
    return meet(walk, operands, rank, lambda z: z[0])


def glu(walk: Propagation, node: fx.Node) -> Value:
    """Handle the first half times the sigmoid of the second."""
    from gan_slimming.pruning.operators.selection import pieces

    axis = int(arguments_of(node)["dim"]) % value_of(node).dim()
    halves = pieces(walk, walk.value(node.args[0]), axis, [value_of(node).shape[axis]] * 2)
    operands = [Operand(half, value_of(node).shape) for half in halves]
    return meet(walk, operands, value_of(node).dim(), lambda z: z[0])


TABLE: dict[str, Handler] = {
    **dict.fromkeys(KEEP, keep),
    **dict.fromkeys(LOSE, lose),
    **dict.fromkeys(BREAK, break_),
    **dict.fromkeys(RANDOM, random),
    **dict.fromkeys(COMPARE, compare),
    "zeros_like": zeros_like, "pow": power, "square": keep,
    "clamp": clamp, "clamp_min": clamp, "clamp_max": clamp, "hardtanh": clamp,
    "threshold": threshold,
    "add": add, "sub": add, "rsub": add, "mul": multiply, "div": divide, "true_divide": divide,
    "maximum": extreme, "minimum": extreme, "max": extreme, "min": extreme,
    "where": where, "masked_fill": masked_fill, "lerp": lerp, "addcmul": addcmul, "glu": glu,
    "prelu": prelu,
}  # fmt: skip
