"""A strict table of a traced generator's operators in LiteRT; others are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx

from gan_slimming.export.tflite.emitter import (
    FIRST,
    LAST,
    Emitter,
    axis_in_file,
    is_real,
    unknown,
)
from gan_slimming.export.tflite.layers import write_layer
from gan_slimming.export.tflite.pads import COLUMNS, ROWS, is_pad, write_pad
from gan_slimming.export.tflite.pixels import PIXELS
from gan_slimming.export.trace.graph import arguments_of, is_identity
from gan_slimming.export.trace.tracing import RESHAPES
from gan_slimming.graph.nodes import module_path, operator_name, value_of

Handler = Callable[[Emitter, fx.Node], int]

SAME_NAME = {
    "relu": "RELU", "tanh": "TANH", "sigmoid": "LOGISTIC", "abs": "ABS", "neg": "NEG",
    "exp": "EXP", "sqrt": "SQRT", "rsqrt": "RSQRT", "log": "LOG", "sin": "SIN", "cos": "COS",
    "floor": "FLOOR", "ceil": "CEIL", "square": "SQUARE", "hardswish": "HARD_SWISH",
    "relu6": "RELU6",
}  # fmt: skip
"""Operators of one argument that the format has unchanged."""
PAIRS = {"add": "ADD", "sub": "SUB", "mul": "MUL", "div": "DIV", "maximum": "MAXIMUM",
         "minimum": "MINIMUM", "rsub": "SUB"}  # fmt: skip
SAME_ORDER = RESHAPES | {"squeeze", "unsqueeze"}
"""Operators that keep all numbers in their order."""


def write_node(emitter: Emitter, node: fx.Node) -> None:
    """Write the counterpart of one call.

    Raises:
        UserError: the table lacks the operator.
    """
    name = operator_name(node).strip("_")
    emitter.model.layer = module_path(node)
    if name in ("split", "chunk", "split_with_sizes"):
        emitter.lists[node] = _split(emitter, node)
    elif name == "getitem":
        emitter.values[node] = emitter.lists[node.args[0]][node.args[1]]  # pyright: ignore
    elif not is_real(node):
        raise unknown(node)
    else:
        emitter.values[node] = _handler(node)(emitter, node)


def _handler(node: fx.Node) -> Handler:
    name = operator_name(node).strip("_")
    if name == "to" or is_identity(node):
        return lambda emitter, node: emitter.value(node.args[0])
    if name in SAME_NAME:
        return lambda emitter, node: emitter.unary(SAME_NAME[name], emitter.value(node.args[0]))
    if name in PAIRS:
        return _pair
    if name in SAME_ORDER:
        return _reshape
    if is_pad(node):
        return write_pad
    if name not in TABLE:
        raise unknown(node)
    return TABLE[name]


def _pair(emitter: Emitter, node: fx.Node) -> int:
    values, name = arguments_of(node), operator_name(node).strip("_")
    if values.get("rounding_mode") is not None:
        raise unknown(node)
    rank = value_of(node).dim()
    operands = [emitter.value(values[key], rank) for key in ("self", "other")]
    if name == "rsub":
        operands.reverse()
    if values.get("alpha", 1) != 1:
        operands[1] = emitter.pair("MUL", operands[1], emitter.value(values["alpha"]))
    return emitter.pair(PAIRS[name], *operands)


def _reshape(emitter: Emitter, node: fx.Node) -> int:
    return emitter.reshaped(emitter.value(node.args[0]), tuple(value_of(node).shape))


def _permute(emitter: Emitter, node: fx.Node) -> int:
    values, rank = arguments_of(node), value_of(node).dim()
    order = list(values.get("dims") or range(rank))
    if "dim0" in values:
        one, other = values["dim0"] % rank, values["dim1"] % rank
        order[one], order[other] = order[other], order[one]
    order = [axis % rank for axis in order]
    if rank == 4:  # both sides have the channels last
        order = [FIRST[order[axis]] for axis in LAST]
        order = [int(axis) for axis in order]
    return emitter.ordered(emitter.value(node.args[0]), order)


def _leaky_relu(emitter: Emitter, node: fx.Node) -> int:
    slope = float(arguments_of(node)["negative_slope"])
    return emitter.unary("LEAKY_RELU", emitter.value(node.args[0]), "LeakyReluOptions", alpha=slope)


def _elu(emitter: Emitter, node: fx.Node) -> int:
    values = arguments_of(node)
    if {values[name] for name in ("alpha", "scale", "input_scale")} != {1}:
        raise unknown(node)
    return emitter.unary("ELU", emitter.value(node.args[0]))


def _prelu(emitter: Emitter, node: fx.Node) -> int:
    slope, rank = emitter.array(arguments_of(node)["weight"]), value_of(node).dim()
    if slope is None or rank not in (2, 4):
        raise unknown(node)
    source = emitter.value(node.args[0])
    whole = np.broadcast_to(slope, emitter.model.shape(source)[-1:])
    slopes = emitter.model.constant(whole.reshape((1,) * (rank - 2) + (-1,)))
    return emitter.model.emit("PRELU", [source, slopes], emitter.model.shape(source))


def _clip(emitter: Emitter, node: fx.Node) -> int:
    values, tensor = arguments_of(node), emitter.value(node.args[0])
    for operator, names in (("MAXIMUM", ("min", "min_val")), ("MINIMUM", ("max", "max_val"))):
        limit = next((values[name] for name in names if values.get(name) is not None), None)
        if limit is not None:
            tensor = emitter.pair(operator, tensor, emitter.value(limit, value_of(node).dim()))
    return tensor


def _silu(emitter: Emitter, node: fx.Node) -> int:
    source = emitter.value(node.args[0])
    return emitter.pair("MUL", source, emitter.unary("LOGISTIC", source))


def _gelu(emitter: Emitter, node: fx.Node) -> int:
    rough = arguments_of(node)["approximate"] != "none"
    return emitter.unary("GELU", emitter.value(node.args[0]), "GeluOptions", approximate=rough)


def _instance_norm(emitter: Emitter, node: fx.Node) -> int:
    """Write weight * (x - mean) / sqrt(variance + eps) + bias: XNNPACK has no norm."""
    values = arguments_of(node)
    if not values["use_input_stats"]:
        return _batch_norm(emitter, node)
    if value_of(node).dim() != 4:
        raise unknown(node)
    tensor = _normalised(emitter, emitter.value(values["input"]), (ROWS, COLUMNS), values["eps"])
    weight, bias = emitter.array(values["weight"]), emitter.array(values["bias"])
    tensor = tensor(weight)
    return tensor if bias is None else emitter.pair("ADD", tensor, emitter.model.constant(bias))


def _normalised(
    emitter: Emitter, tensor: int, axes: tuple[int, ...], eps: float
) -> Callable[[np.ndarray | None], int]:
    """Write the statistics of a norm; return a function of its weight that writes the rest."""
    apart = emitter.pair("SUB", tensor, emitter.mean(tensor, axes))
    spread = emitter.mean(emitter.pair("MUL", apart, apart), axes)
    scale = emitter.unary("RSQRT", emitter.pair("ADD", spread, emitter.value(eps)))

    def scaled(weight: np.ndarray | None) -> int:
        if weight is None:
            return emitter.pair("MUL", apart, scale)
        return emitter.pair(
            "MUL", apart, emitter.pair("MUL", scale, emitter.model.constant(weight))
        )

    return scaled


def _batch_norm(emitter: Emitter, node: fx.Node) -> int:
    """Write a norm with running statistics as a scale and a shift of each channel."""
    values, rank = arguments_of(node), value_of(node).dim()
    mean, variance = (emitter.array(values[name]) for name in ("running_mean", "running_var"))
    if values.get("training") or mean is None or variance is None or rank not in (2, 4):
        raise unknown(node)
    weight, bias = emitter.array(values["weight"]), emitter.array(values["bias"])
    scale = 1 / np.sqrt(variance.astype(np.float64) + values["eps"])
    scale = scale if weight is None else scale * weight
    shift = (0 if bias is None else bias) - mean * scale
    tensor = emitter.value(values["input"])
    for operator, vector in (("MUL", scale), ("ADD", shift)):
        tensor = emitter.pair(operator, tensor, emitter.model.constant(vector.astype(np.float32)))
    return tensor


def _group_norm(emitter: Emitter, node: fx.Node) -> int:
    values = arguments_of(node)
    if value_of(node).dim() != 4:
        raise unknown(node)
    source, count = emitter.value(values["input"]), values["num_groups"]
    shape = emitter.model.shape(source)
    sets = (1, shape[1] * shape[2], count, shape[3] // count)
    tensor = _normalised(emitter, emitter.plain_reshape(source, sets), (1, 3), values["eps"])(None)
    tensor = emitter.plain_reshape(tensor, shape)
    for operator, name in (("MUL", "weight"), ("ADD", "bias")):
        vector = emitter.array(values[name])
        if vector is not None:
            tensor = emitter.pair(operator, tensor, emitter.model.constant(vector))
    return tensor


def _cat(emitter: Emitter, node: fx.Node) -> int:
    values, rank = arguments_of(node), value_of(node).dim()
    tensors = [emitter.value(part) for part in values["tensors"]]
    axis = axis_in_file(values["dim"], rank)
    while len(tensors) > 4:  # XNNPACK joins few at once
        tensors = [emitter.joined(tensors[:4], axis), *tensors[4:]]
    return emitter.joined(tensors, axis)


def _slice(emitter: Emitter, node: fx.Node) -> int:
    values, rank = arguments_of(node), value_of(node).dim()
    if values["step"] != 1:
        raise unknown(node)
    length = int(value_of(node.args[0]).shape[values["dim"]])
    start = slice(values["start"], values["end"]).indices(length)[0]
    axis = axis_in_file(values["dim"], rank)
    size = int(value_of(node).shape[values["dim"]])
    return emitter.narrowed(emitter.value(node.args[0]), axis, start, size)


def _split(emitter: Emitter, node: fx.Node) -> list[int]:
    axis = arguments_of(node)["dim"]
    parts: Any = node.meta["val"]
    source, start, made = emitter.value(node.args[0]), 0, []
    for part in parts:
        size = int(part.shape[axis])
        made.append(emitter.narrowed(source, axis_in_file(axis, part.dim()), start, size))
        start += size
    return made


def _mean(emitter: Emitter, node: fx.Node) -> int:
    values, rank = arguments_of(node), value_of(node.args[0]).dim()
    axes = [axis % rank for axis in values.get("dim") or range(rank)]
    if not values.get("keepdim") and rank == 4 and len(axes) not in (2, 4):
        raise unknown(node)
    source = emitter.value(node.args[0])
    tensor = emitter.mean(source, sorted(axis_in_file(axis, rank) for axis in axes))
    return tensor if values.get("keepdim") else emitter.reshaped(tensor, value_of(node).shape)


def _embedding(emitter: Emitter, node: fx.Node) -> int:
    values = arguments_of(node)
    operands = [emitter.value(values["weight"]), emitter.value(values["indices"])]
    return emitter.model.emit("GATHER", operands, value_of(node).shape, "GatherOptions")


TABLE: dict[str, Handler] = {
    "conv2d": write_layer, "conv_transpose2d": write_layer, "linear": write_layer,
    "leaky_relu": _leaky_relu, "elu": _elu, "prelu": _prelu, "silu": _silu, "gelu": _gelu,
    "clamp": _clip, "clamp_min": _clip, "clamp_max": _clip, "hardtanh": _clip,
    "instance_norm": _instance_norm, "batch_norm": _batch_norm, "group_norm": _group_norm,
    "cat": _cat, "concat": _cat, "slice": _slice, "mean": _mean,
    "permute": _permute, "transpose": _permute,
        "embedding": _embedding, **PIXELS,
}  # fmt: skip
