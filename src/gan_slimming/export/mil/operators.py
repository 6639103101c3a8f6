"""A strict table of a traced generator's operators in MIL; others are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, fx

from gan_slimming.export.kernels.windows import spread
from gan_slimming.export.mil.layers import write_layer
from gan_slimming.export.mil.values import Values, unknown
from gan_slimming.export.trace.graph import arguments_of, is_identity
from gan_slimming.export.trace.tracing import RESHAPES
from gan_slimming.export.xnnpack.pads import pads_of
from gan_slimming.graph.nodes import operator_name, value_of

Handler = Callable[[Values, fx.Node], Any]

LEAST_EPSILON = 1e-5
"""Least eps of a norm: half precision would make less of it zero."""
SAME_NAME = {
    "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid", "abs": "abs", "exp": "exp",
    "sqrt": "sqrt", "silu": "silu", "relu6": "relu6", "square": "square",
}  # fmt: skip
"""Operators of one argument that MIL has unchanged."""
PAIRS = {"add": "add", "sub": "sub", "mul": "mul", "div": "real_div", "rsub": "sub",
         "maximum": "maximum", "minimum": "minimum"}  # fmt: skip
SAME_ORDER = RESHAPES | {"squeeze", "unsqueeze"}
"""Operators that keep all numbers in their order."""


def write_node(values: Values, node: fx.Node) -> Any:
    """Write the counterpart of one call.

    Raises:
        UserError: the table lacks the operator.
    """
    name, sample = operator_name(node).strip("_"), node.meta.get("val")
    if not isinstance(sample, Tensor) or not sample.is_floating_point():
        raise unknown(node)
    if name == "to" or is_identity(node):
        return values.value(node.args[0])
    if name in SAME_NAME:
        return getattr(values.mb, SAME_NAME[name])(x=values.value(node.args[0]))
    if name in PAIRS:
        return _pair(values, node)
    if name in SAME_ORDER:
        shape = [int(n) for n in sample.shape]
        return values.mb.reshape(x=values.value(node.args[0]), shape=shape)
    if name not in TABLE:
        raise unknown(node)
    return TABLE[name](values, node)


def _pair(values: Values, node: fx.Node) -> Any:
    given, name = arguments_of(node), operator_name(node).strip("_")
    if given.get("rounding_mode") is not None:
        raise unknown(node)
    operands = [values.value(given[key]) for key in ("self", "other")]
    if name == "rsub":
        operands.reverse()
    if given.get("alpha", 1) != 1:
        operands[1] = values.mb.mul(x=operands[1], y=np.float32(given["alpha"]))
    return getattr(values.mb, PAIRS[name])(x=operands[0], y=operands[1])


def _pad(values: Values, node: fx.Node) -> Any:
    given, copies = arguments_of(node), pads_of(node)
    if copies is not None:
        left, right, top, bottom = copies.amounts
        mode = copies.mode
    else:
        amounts = [int(n) for n in given.get("pad") or given.get("padding") or ()]
        plain = len(amounts) in (2, 4) and min(amounts) >= 0 and value_of(node).dim() == 4
        if not plain or given.get("mode", "constant") != "constant" or given.get("value"):
            raise unknown(node)
        left, right, top, bottom = (*amounts, 0, 0)[:4]
        mode = "constant"
    source = values.value(node.args[0])
    return values.mb.pad(x=source, pad=[top, bottom, left, right], mode=mode)


def _leaky_relu(values: Values, node: fx.Node) -> Any:
    slope = np.float32(arguments_of(node)["negative_slope"])
    return values.mb.leaky_relu(x=values.value(node.args[0]), alpha=slope)


def _prelu(values: Values, node: fx.Node) -> Any:
    slope = values.array(arguments_of(node)["weight"])
    if slope is None:
        raise unknown(node)
    slopes = np.broadcast_to(slope, (int(value_of(node).shape[1]),)).copy()
    return values.mb.prelu(x=values.value(node.args[0]), alpha=slopes)


def _clip(values: Values, node: fx.Node) -> Any:
    given, result = arguments_of(node), values.value(node.args[0])
    for operator, names in (("maximum", ("min", "min_val")), ("minimum", ("max", "max_val"))):
        limit = next((given[name] for name in names if given.get(name) is not None), None)
        if limit is not None:
            result = getattr(values.mb, operator)(x=result, y=values.value(limit))
    return result


def _instance_norm(values: Values, node: fx.Node) -> Any:
    given = arguments_of(node)
    if not given["use_input_stats"]:
        return _batch_norm(values, node)
    how = {"gamma": values.array(given["weight"]), "beta": values.array(given["bias"])}
    how = {key: vector for key, vector in how.items() if vector is not None}
    source = values.value(given["input"])
    return values.mb.instance_norm(x=source, epsilon=_epsilon(given), **how)


def _batch_norm(values: Values, node: fx.Node) -> Any:
    """Write a norm with running statistics as a scale and a shift of each channel."""
    given, rank = arguments_of(node), value_of(node).dim()
    mean, variance = (values.array(given[name]) for name in ("running_mean", "running_var"))
    if given.get("training") or mean is None or variance is None:
        raise unknown(node)
    weight, bias = values.array(given["weight"]), values.array(given["bias"])
    scale = 1 / np.sqrt(variance.astype(np.float64) + given["eps"])
    scale = scale if weight is None else scale * weight
    shift = (0 if bias is None else bias) - mean * scale
    shape = (-1,) + (1,) * (rank - 2)
    scale, shift = (v.astype(np.float32).reshape(shape) for v in (scale, shift))
    return values.mb.add(x=values.mb.mul(x=values.value(given["input"]), y=scale), y=shift)


def _epsilon(given: dict[str, Any]) -> np.float32:
    return np.float32(max(given["eps"], LEAST_EPSILON))


def _cat(values: Values, node: fx.Node) -> Any:
    given = arguments_of(node)
    parts = [values.value(part) for part in given["tensors"]]
    return values.mb.concat(values=parts, axis=given["dim"] % value_of(node).dim())


def _mean(values: Values, node: fx.Node) -> Any:
    given, rank = arguments_of(node), value_of(node.args[0]).dim()
    axes = [axis % rank for axis in given.get("dim") or range(rank)]
    source = values.value(node.args[0])
    return values.mb.reduce_mean(x=source, axes=axes, keep_dims=bool(given.get("keepdim")))


def _average(values: Values, node: fx.Node) -> Any:
    given = arguments_of(node)
    kernel, padding = spread(given["kernel_size"], 2), spread(given["padding"], 2)
    if value_of(node).dim() != 4 or any(padding) or given["ceil_mode"]:
        raise unknown(node)
    return values.mb.avg_pool(
        x=values.value(node.args[0]), kernel_sizes=kernel, pad_type="valid",
        strides=spread(given["stride"] or kernel, 2),
    )  # fmt: skip


def _nearest(values: Values, node: fx.Node) -> Any:
    sides = value_of(node).shape[2:], value_of(node.args[0]).shape[2:]
    if any(int(made) % int(given) for made, given in zip(*sides, strict=True)):
        raise unknown(node)
    (tall, wide) = (int(made) // int(given) for made, given in zip(*sides, strict=True))
    source = values.value(node.args[0])
    return values.mb.upsample_nearest_neighbor(
        x=source, scale_factor_height=tall, scale_factor_width=wide
    )


def _pixel_shuffle(values: Values, node: fx.Node) -> Any:
    factor = arguments_of(node)["upscale_factor"]
    return values.mb.pixel_shuffle(x=values.value(node.args[0]), upscale_factor=factor)


TABLE: dict[str, Handler] = {
    "conv1d": write_layer, "conv2d": write_layer, "conv_transpose1d": write_layer,
    "conv_transpose2d": write_layer, "linear": write_layer,
    "pad": _pad, "reflection_pad2d": _pad, "replication_pad2d": _pad, "constant_pad_nd": _pad,
    "leaky_relu": _leaky_relu, "prelu": _prelu,
    "clamp": _clip, "clamp_min": _clip, "clamp_max": _clip, "hardtanh": _clip,
    "instance_norm": _instance_norm, "batch_norm": _batch_norm,
    "cat": _cat, "concat": _cat, "mean": _mean, "avg_pool2d": _average,
    "upsample_nearest2d": _nearest, "pixel_shuffle": _pixel_shuffle,
}  # fmt: skip
