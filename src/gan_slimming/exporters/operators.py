"""Operators of a torch.export graph in ONNX: a strict table; what it lacks is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx

from gan_slimming.exporters.convolutions import convolution, linear, transposed_convolution
from gan_slimming.exporters.emitter import Emitter
from gan_slimming.exporters.graph import arguments_of, unknown
from gan_slimming.exporters.pads import PADS, write_pad
from gan_slimming.exporters.shapes import SHAPES
from gan_slimming.exporters.widening import pad_axis
from gan_slimming.pruning.nodes import operator_name, value_of

Handler = Callable[[Emitter, fx.Node], str]

SAME_NAME = {
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "abs": "Abs", "neg": "Neg",
    "exp": "Exp", "sqrt": "Sqrt", "mish": "Mish", "hardswish": "HardSwish",
    "softplus": "Softplus", "log": "Log", "reciprocal": "Reciprocal", "erf": "Erf", "selu": "Selu",
}  # fmt: skip
"""Operators of one argument that ONNX has as they are."""
NOTHING = frozenset({"dropout", "feature_dropout", "clone", "contiguous", "detach", "alias"})
"""Operators that leave every value alone in evaluation mode."""
ARITHMETIC = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}
PAIRS = {"maximum": "Max", "minimum": "Min", "matmul": "MatMul", "bmm": "MatMul", "pow": "Pow"}
"""Operators of two arguments that ONNX has as they are."""


def write_node(emitter: Emitter, node: fx.Node) -> str:
    """The ONNX counterpart of one call.

    Raises:
        UserError: the table has no such operator.
    """
    name = operator_name(node).removesuffix("_")
    if name in NOTHING:
        return emitter.value(node.args[0])
    if name in SAME_NAME:
        return emitter.emit(SAME_NAME[name], [emitter.value(node.args[0])])
    if name in ARITHMETIC:
        return _arithmetic(emitter, node, ARITHMETIC[name])
    if name in PAIRS:
        return emitter.emit(PAIRS[name], [emitter.value(side) for side in node.args[:2]])
    if name in PADS:
        return write_pad(emitter, emitter.value(node.args[0]), node)
    if name not in TABLE:
        raise unknown(node)
    return TABLE[name](emitter, node)


def _arithmetic(emitter: Emitter, node: fx.Node, operator: str) -> str:
    values = arguments_of(node)
    if values.get("rounding_mode") is not None:
        raise unknown(node)
    second = emitter.value(values["other"])
    if values.get("alpha", 1) != 1:
        second = emitter.emit("Mul", [second, emitter.scalar(values["alpha"])])
    return emitter.emit(operator, [emitter.value(values["self"]), second])


def _instance_norm(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    if not values["use_input_stats"]:
        return _batch_norm(emitter, node)
    scale, shift = _scale_and_shift(emitter, node, values)
    parts = [emitter.value(values["input"]), scale, shift]
    return emitter.emit("InstanceNormalization", parts, epsilon=values["eps"])


def _batch_norm(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    if values.get("training") or values["running_mean"] is None:
        raise unknown(node)
    scale, shift = _scale_and_shift(emitter, node, values)
    mean, variance = (emitter.value(values[f"running_{name}"]) for name in ("mean", "var"))
    parts = [emitter.value(values["input"]), scale, shift, mean, variance]
    return emitter.emit("BatchNormalization", parts, epsilon=values["eps"])


def _scale_and_shift(emitter: Emitter, node: fx.Node, values: dict[str, Any]) -> tuple[str, str]:
    """Constants of a norm; one without them gets 1 and 0."""
    channels = value_of(node).shape[1]
    scale, shift = emitter.array(values["weight"]), emitter.array(values["bias"])
    scale = np.ones(channels, np.float32) if scale is None else scale
    shift = np.zeros(channels, np.float32) if shift is None else shift
    scale, shift = (pad_axis(v, 0, emitter.widths.get(node)) for v in (scale, shift))
    return emitter.constant(scale, "scale"), emitter.constant(shift, "shift")


def _leaky_relu(emitter: Emitter, node: fx.Node) -> str:
    slope = arguments_of(node)["negative_slope"]
    return emitter.emit("LeakyRelu", [emitter.value(node.args[0])], alpha=float(slope))


def _elu(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    if values["scale"] != 1 or values["input_scale"] != 1:
        raise unknown(node)
    return emitter.emit("Elu", [emitter.value(node.args[0])], alpha=float(values["alpha"]))


def _clip(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    low, high = values.get("min", values.get("min_val")), values.get("max", values.get("max_val"))
    limits = ["" if limit is None else emitter.value(limit) for limit in (low, high)]
    return emitter.emit("Clip", [emitter.value(node.args[0]), *limits])


def _relu6(emitter: Emitter, node: fx.Node) -> str:
    limits = [emitter.scalar(0.0), emitter.scalar(6.0)]
    return emitter.emit("Clip", [emitter.value(node.args[0]), *limits])


def _silu(emitter: Emitter, node: fx.Node) -> str:
    source = emitter.value(node.args[0])
    return emitter.emit("Mul", [source, emitter.emit("Sigmoid", [source])])


def _prelu(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    slope = emitter.array(values["weight"])
    assert slope is not None
    axes = [1] * (value_of(node).dim() - 2)
    parts = [emitter.value(values["self"]), emitter.constant(slope.reshape(-1, *axes), "slope")]
    return emitter.emit("PRelu", parts)


def _cat(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    axis = values["dim"] % value_of(node).dim()
    return emitter.emit("Concat", [emitter.value(part) for part in values["tensors"]], axis=axis)


def _pixel_shuffle(emitter: Emitter, node: fx.Node) -> str:
    factor = arguments_of(node)["upscale_factor"]
    source = emitter.value(node.args[0])
    return emitter.shuffle(source, factor, "CRD")


def _resize(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    factors = values.get("scale_factors")
    if factors is None or values.get("align_corners"):
        raise unknown(node)
    scales = emitter.constant(np.array([1, 1, *factors], np.float32), "scales")
    how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if operator_name(node).startswith("upsample_nearest"):
        how = {"mode": "nearest", "nearest_mode": "floor"}
        how["coordinate_transformation_mode"] = "asymmetric"
    elif operator_name(node) == "upsample_bicubic2d":
        how |= {"mode": "cubic", "cubic_coeff_a": -0.75}
    return emitter.emit("Resize", [emitter.value(node.args[0]), "", scales], **how)


def _pool(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    kernel, padding = _pair(values["kernel_size"]), _pair(values["padding"])
    window: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": _pair(values["stride"] or kernel),
        "pads": padding * 2,
        "ceil_mode": int(values["ceil_mode"]),
    }
    if operator_name(node) == "max_pool2d":
        if set(_pair(values["dilation"])) != {1}:
            raise unknown(node)
        return emitter.emit("MaxPool", [emitter.value(node.args[0])], **window)
    if values["divisor_override"] is not None:
        raise unknown(node)
    window["count_include_pad"] = int(values["count_include_pad"])
    return emitter.emit("AveragePool", [emitter.value(node.args[0])], **window)


def _embedding(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    parts = [emitter.value(values["weight"]), emitter.value(values["indices"])]
    return emitter.emit("Gather", parts, axis=0)


def _linear(emitter: Emitter, node: fx.Node) -> str:
    """On vectors a Gemm; on more a matrix product, in float."""
    values = arguments_of(node)
    if value_of(values["input"]).dim() == 2:
        return linear(emitter, node)
    weight, bias = emitter.array(values["weight"]), emitter.array(values["bias"])
    if emitter.form != "float" or weight is None:
        raise unknown(node)
    parts = [emitter.value(values["input"]), emitter.constant(weight.T, "weight")]
    result = emitter.emit("MatMul", parts)
    if bias is None:
        return result
    return emitter.emit("Add", [result, emitter.constant(bias, "bias")])


def _group_norm(emitter: Emitter, node: fx.Node) -> str:
    """Each set of channels as one channel of an instance normalisation."""
    values = arguments_of(node)
    count, source = values["num_groups"], emitter.value(values["input"])
    sets = emitter.emit("Reshape", [source, emitter.integers([0, count, -1])])
    plain = [emitter.constant(np.full(count, v, np.float32), "norm") for v in (1, 0)]
    sets = emitter.emit("InstanceNormalization", [sets, *plain], epsilon=values["eps"])
    result = emitter.emit("Reshape", [sets, emitter.emit("Shape", [source])])
    axes = [1] * (value_of(node).dim() - 2)
    for operator, name in (("Mul", "weight"), ("Add", "bias")):
        vector = emitter.array(values[name])
        if vector is not None:
            vector = emitter.constant(vector.reshape(-1, *axes), name)
            result = emitter.emit(operator, [result, vector])
    return result


def _gelu(emitter: Emitter, node: fx.Node) -> str:
    """x * (1 + erf(x / sqrt 2)) / 2."""
    if arguments_of(node)["approximate"] != "none":
        raise unknown(node)
    source = emitter.value(node.args[0])
    erf = emitter.emit("Erf", [emitter.emit("Mul", [source, emitter.scalar(0.5**0.5)])])
    half = emitter.emit("Mul", [source, emitter.scalar(0.5)])
    return emitter.emit("Mul", [half, emitter.emit("Add", [erf, emitter.scalar(1.0)])])


def _hardsigmoid(emitter: Emitter, node: fx.Node) -> str:
    return emitter.emit("HardSigmoid", [emitter.value(node.args[0])], alpha=1 / 6, beta=0.5)


def _rsqrt(emitter: Emitter, node: fx.Node) -> str:
    return emitter.emit("Reciprocal", [emitter.emit("Sqrt", [emitter.value(node.args[0])])])


def _softmax(emitter: Emitter, node: fx.Node) -> str:
    axis = arguments_of(node)["dim"]
    return emitter.emit("Softmax", [emitter.value(node.args[0])], axis=axis)


def _reduce(emitter: Emitter, node: fx.Node) -> str:
    """Sum or mean: over pixels at any size, over channels as many as there are."""
    values, source = arguments_of(node), value_of(node.args[0])
    dims, rank = values["dim"], source.dim()
    axes = sorted(int(d) % rank for d in (dims if isinstance(dims, list | tuple) else [dims]))
    name, mean = emitter.value(node.args[0]), operator_name(node) == "mean"
    keep = int(values["keepdim"])
    if mean and axes == [2, 3] == list(range(2, rank)):
        pooled = emitter.emit("GlobalAveragePool", [name])
        return pooled if keep else emitter.emit("Squeeze", [pooled, emitter.integers(axes)])
    if mean and axes != [1]:
        raise unknown(node)
    total = emitter.emit("ReduceSum", [name, emitter.integers(axes)], keepdims=keep)
    if not mean:
        return total
    return emitter.emit("Mul", [total, emitter.scalar(1 / source.shape[1])])


def _vector_norm(emitter: Emitter, node: fx.Node) -> str:
    """Square root of a sum of squares."""
    values, name = arguments_of(node), emitter.value(node.args[0])
    if values["ord"] != 2 or not values["dim"]:
        raise unknown(node)
    parts = [emitter.emit("Mul", [name, name]), emitter.integers(list(values["dim"]))]
    total = emitter.emit("ReduceSum", parts, keepdims=int(values["keepdim"]))
    return emitter.emit("Sqrt", [total])


def _global_pool(emitter: Emitter, node: fx.Node) -> str:
    """adaptive_avg_pool2d to one pixel."""
    if set(_pair(arguments_of(node)["output_size"])) != {1}:
        raise unknown(node)
    return emitter.emit("GlobalAveragePool", [emitter.value(node.args[0])])


def _pair(value: Any) -> list[int]:
    found = list(value) if isinstance(value, list | tuple) else [value]
    return found * 2 if len(found) == 1 else found


TABLE: dict[str, Handler] = {
    "conv1d": convolution, "conv2d": convolution, "conv3d": convolution,
    "conv_transpose2d": transposed_convolution, "linear": _linear,
    "instance_norm": _instance_norm, "batch_norm": _batch_norm,
    "leaky_relu": _leaky_relu, "elu": _elu, "silu": _silu, "prelu": _prelu,
    "relu6": _relu6, "hardtanh": _clip, "clamp": _clip, "clamp_min": _clip, "clamp_max": _clip,
    "cat": _cat, "pixel_shuffle": _pixel_shuffle,
    "upsample_nearest2d": _resize, "upsample_bilinear2d": _resize,
    "upsample_bicubic2d": _resize,
    "avg_pool2d": _pool, "max_pool2d": _pool,
    "embedding": _embedding, "group_norm": _group_norm, "gelu": _gelu, "rsqrt": _rsqrt,
    "hardsigmoid": _hardsigmoid, "softmax": _softmax, "mean": _reduce, "sum": _reduce,
    "linalg_vector_norm": _vector_norm,
    "adaptive_avg_pool2d": _global_pool,
    **SHAPES,
}  # fmt: skip
