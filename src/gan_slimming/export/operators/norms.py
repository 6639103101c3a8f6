"""Normalisations in ONNX; scale and shift may be parameters, or computed, as from a style."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.int8.codes import scalable
from gan_slimming.export.kernels.widening import pad_axis
from gan_slimming.export.operators.reductions import reduced
from gan_slimming.export.trace.graph import arguments_of, unknown
from gan_slimming.export.trace.tracing import sides_of
from gan_slimming.graph.nodes import value_of


def _instance_norm(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    if not values["use_input_stats"]:
        return _batch_norm(emitter, node)
    scale, shift = _scale_and_shift(emitter, node, values)
    operands = [emitter.value(values["input"]), scale, shift]
    return emitter.emit("InstanceNormalization", operands, epsilon=values["eps"])


def _batch_norm(emitter: Emitter, node: fx.Node) -> str:
    """Write a batch norm with running statistics, or with the batch's own if it keeps none."""
    values, name = arguments_of(node), emitter.value(node.args[0])
    scale, shift = _scale_and_shift(emitter, node, values)
    width = emitter.widths.get(node)
    if not values.get("training") and values["running_mean"] is not None:
        statistics = [
            emitter.constant(pad_axis(emitter.traced.tensors[values[name]], 0, width, 1.0), name)
            for name in ("running_mean", "running_var")
        ]
        weight = emitter.traced.tensors.get(values["weight"])
        name = scalable(emitter, name, [] if weight is None else [weight])
        operands = [name, scale, shift, *statistics]
        return emitter.emit("BatchNormalization", operands, epsilon=values["eps"])
    dims = value_of(node).dim()
    over = emitter.integers([-1, *[1] * (dims - 2)])
    scale, shift = (emitter.emit("Reshape", [vector, over]) for vector in (scale, shift))
    axes = [axis for axis in range(dims) if axis != 1]
    apart = emitter.emit("Sub", [name, reduced(emitter, "ReduceMean", name, axes)])
    normalised = _rooted(emitter, apart, axes, values["eps"], None, None)
    return emitter.emit("Add", [emitter.emit("Mul", [normalised, scale]), shift])


def _scale_and_shift(emitter: Emitter, node: fx.Node, values: dict[str, Any]) -> tuple[str, str]:
    """Return the names of a norm's scale and shift; 1 and 0 if it has none."""
    side, names = sides_of(node)[1], []
    for name, plain in (("weight", 1), ("bias", 0)):
        argument = values[name]
        if argument is not None and argument not in emitter.traced.tensors:
            names.append(emitter.value(argument))
            continue
        if not side.fixed:
            raise unknown(node)
        vector = emitter.array(argument)
        vector = np.full(side.first, plain, np.float32) if vector is None else vector
        vector = pad_axis(vector, 0, emitter.widths.get(node))
        names.append(emitter.constant(vector, "scale" if plain else "shift"))
    return names[0], names[1]


def _group_norm(emitter: Emitter, node: fx.Node) -> str:
    """Write an instance normalisation that takes each group of channels as one channel."""
    values = arguments_of(node)
    count, source = values["num_groups"], emitter.value(values["input"])
    sets = emitter.emit("Reshape", [source, emitter.integers([0, count, -1])])
    plain = [emitter.constant(np.full(count, v, np.float32), "norm") for v in (1, 0)]
    sets = emitter.emit("InstanceNormalization", [sets, *plain], epsilon=values["eps"])
    result = emitter.emit("Reshape", [sets, emitter.shape_of(source)])
    for operator, name in (("Mul", "weight"), ("Add", "bias")):
        if values[name] is not None:
            vector = per_channel(emitter, values[name], value_of(node).dim() - 2, name)
            result = emitter.emit(operator, [result, vector])
    return result


def per_channel(emitter: Emitter, argument: Any, dims: int, name: str) -> str:
    """Write a vector that broadcasts along axis 1 of a value with `dims` axes behind it."""
    shape = [-1, *[1] * dims]
    if argument in emitter.traced.tensors:
        return emitter.constant(emitter.traced.tensors[argument].reshape(shape), name)
    return emitter.emit("Reshape", [emitter.value(argument), emitter.integers(shape)])


def _layer_norm(emitter: Emitter, node: fx.Node) -> str:
    """Write a norm over the last axes; as several nodes if their lengths follow the size."""
    values, name = arguments_of(node), emitter.value(node.args[0])
    count = len(values["normalized_shape"])
    axes = list(range(-count, 0))
    sides = sides_of(node.args[0])[-count:]
    weight, bias = values["weight"], values["bias"]
    if all(side.fixed for side in sides):
        ones = np.ones([side.first for side in sides], np.float32)
        scale = emitter.constant(ones, "scale") if weight is None else emitter.value(weight)
        operands = [name, scale, *([] if bias is None else [emitter.value(bias)])]
        return emitter.emit("LayerNormalization", operands, axis=-count, epsilon=values["eps"])
    apart = emitter.emit("Sub", [name, reduced(emitter, "ReduceMean", name, axes)])
    return _rooted(emitter, apart, axes, values["eps"], weight, bias)


def _rms_norm(emitter: Emitter, node: fx.Node) -> str:
    values, name = arguments_of(node), emitter.value(node.args[0])
    axes = list(range(-len(values["normalized_shape"]), 0))
    eps = torch.finfo(torch.float32).eps if values["eps"] is None else values["eps"]
    return _rooted(emitter, name, axes, eps, values["weight"], None)


def _rooted(
    emitter: Emitter, name: str, axes: list[int], eps: float, weight: Any, bias: Any
) -> str:
    """Write x / sqrt(mean of squares + eps), then scale and shift."""
    squares = emitter.emit("Mul", [name, name])
    spread = reduced(emitter, "ReduceMean", squares, axes)
    root = emitter.emit("Sqrt", [emitter.emit("Add", [spread, emitter.scalar(eps)])])
    name = emitter.emit("Div", [name, root])
    for operator, vector in (("Mul", weight), ("Add", bias)):
        if vector is not None:
            name = emitter.emit(operator, [name, emitter.value(vector)])
    return name


NORMS: dict[str, Callable[[Emitter, fx.Node], str]] = {
    "instance_norm": _instance_norm, "batch_norm": _batch_norm, "group_norm": _group_norm,
    "layer_norm": _layer_norm, "rms_norm": _rms_norm,
}  # fmt: skip
