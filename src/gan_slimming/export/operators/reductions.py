"""Reductions in ONNX: sums, products, means, variances, norms and extremes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.trace.graph import arguments_of, unknown
from gan_slimming.export.trace.tracing import sides_of
from gan_slimming.graph.nodes import operator_name, value_of

EXTREMES = {"amax": "ReduceMax", "max": "ReduceMax", "amin": "ReduceMin", "min": "ReduceMin"}


def reduced(emitter: Emitter, operator: str, name: str, axes: Sequence[int], keep: int = 1) -> str:
    """Write a reduction; before opset 18 only ReduceSum takes its axes as an input."""
    if operator == "ReduceSum" or emitter.opset >= 18:
        return emitter.emit(operator, [name, emitter.integers(list(axes))], keepdims=keep)
    return emitter.emit(operator, [name], axes=list(axes), keepdims=keep)


def axes_of(node: fx.Node) -> list[int]:
    """Return the axes that a call reduces; all if it names none."""
    values, rank = arguments_of(node), value_of(node.args[0]).dim()
    dims = values.get("dim")
    if dims is None or dims == []:
        return list(range(rank))
    return sorted(int(d) % rank for d in (dims if isinstance(dims, list | tuple) else [dims]))


def _keep(node: fx.Node) -> int:
    return int(arguments_of(node).get("keepdim", False))


def _sum(emitter: Emitter, node: fx.Node) -> str:
    name = emitter.value(node.args[0], value_of(node).dtype)
    return reduced(emitter, "ReduceSum", name, axes_of(node), _keep(node))


def _mean(emitter: Emitter, node: fx.Node) -> str:
    """Write a mean: over pixels a global pool, over a fixed number of channels a scaled sum."""
    axes, name, keep = axes_of(node), emitter.value(node.args[0]), _keep(node)
    sides = sides_of(node.args[0])
    if axes == [2, 3] == list(range(2, len(sides))):
        pooled = emitter.emit("GlobalAveragePool", [name])
        return pooled if keep else emitter.emit("Squeeze", [pooled, emitter.integers(axes)])
    if axes == [1] and sides[1].fixed:
        total = reduced(emitter, "ReduceSum", name, axes, keep)
        return emitter.emit("Mul", [total, emitter.scalar(1 / sides[1].first)])
    return reduced(emitter, "ReduceMean", name, axes, keep)


def _extreme(emitter: Emitter, node: fx.Node) -> str:
    """Write a maximum or minimum; of max.dim only the values, its first result."""
    values = arguments_of(node)
    if isinstance(values.get("other"), fx.Node):
        operator = "Max" if operator_name(node) == "max" else "Min"
        return emitter.emit(operator, [emitter.value(side) for side in node.args[:2]])
    name = emitter.value(node.args[0])
    result = reduced(emitter, EXTREMES[operator_name(node)], name, axes_of(node), _keep(node))
    emitter.outputs[node] = [result]
    return result


def _variance(emitter: Emitter, node: fx.Node) -> str:
    """Write squares around the mean over n - correction, or their root.

    var_mean and std_mean have the mean as their second result.
    """
    values, axes, kind = arguments_of(node), axes_of(node), operator_name(node)
    correction = values.get("correction", int(bool(values.get("unbiased"))))
    name = emitter.value(node.args[0])
    mean = reduced(emitter, "ReduceMean", name, axes)
    keep = _keep(node)
    apart = emitter.emit("Sub", [name, mean])
    squares = emitter.emit("Mul", [apart, apart])
    result = reduced(emitter, "ReduceMean", squares, axes, keep)
    if correction is None or correction:
        result = emitter.emit("Mul", [result, _corrected(emitter, node, axes, correction)])
    result = emitter.emit("Sqrt", [result]) if kind.startswith("std") else result
    if kind.endswith("_mean"):
        flat = mean if keep else emitter.emit("Squeeze", [mean, emitter.integers(axes)])
        emitter.outputs[node] = [result, flat]
    return result


def _corrected(emitter: Emitter, node: fx.Node, axes: list[int], correction: Any) -> str:
    """Return n / (n - correction), for a reduction of n numbers."""
    correction = 1 if correction is None else correction
    sides = [sides_of(node.args[0])[axis] for axis in axes]
    if all(side.fixed for side in sides):
        count = float(torch.tensor([side.first for side in sides]).prod())
        return emitter.scalar(count / (count - correction))
    name, *others = (emitter.side(node.args[0], axis) for axis in axes)
    for other in others:
        name = emitter.emit("Mul", [name, other])
    count = emitter.cast(emitter.emit("Squeeze", [name]), torch.int64, torch.float32)
    return emitter.emit("Div", [count, emitter.emit("Sub", [count, emitter.scalar(correction)])])


def _vector_norm(emitter: Emitter, node: fx.Node) -> str:
    """Write the square root of a sum of squares."""
    values, name = arguments_of(node), emitter.value(node.args[0])
    if values["ord"] != 2:
        raise unknown(node)
    total = reduced(emitter, "ReduceSum", emitter.emit("Mul", [name, name]), axes_of(node),
                    _keep(node))  # fmt: skip
    return emitter.emit("Sqrt", [total])


def _product(emitter: Emitter, node: fx.Node) -> str:
    return reduced(emitter, "ReduceProd", emitter.value(node.args[0]), axes_of(node), _keep(node))


REDUCTIONS: dict[str, Callable[[Emitter, fx.Node], str]] = {
    "sum": _sum, "mean": _mean, **dict.fromkeys(EXTREMES, _extreme),
    "var": _variance, "std": _variance, "var_mean": _variance, "std_mean": _variance,
    "linalg_vector_norm": _vector_norm, "prod": _product,
}  # fmt: skip
