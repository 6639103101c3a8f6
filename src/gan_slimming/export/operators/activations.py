"""Activations in ONNX that need more than the operator of the same name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.operators.norms import per_channel
from gan_slimming.export.trace.graph import arguments_of, unknown
from gan_slimming.graph.nodes import operator_name, value_of


def _leaky_relu(emitter: Emitter, node: fx.Node) -> str:
    """Write leaky_relu; or rrelu with the mean of its slopes, as in evaluation mode."""
    values = arguments_of(node)
    slope = values.get("negative_slope")
    slope = (values["lower"] + values["upper"]) / 2 if slope is None else slope
    return emitter.emit("LeakyRelu", [emitter.value(node.args[0])], alpha=float(slope))


def _elu(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    if values.get("scale", 1) != 1 or values.get("input_scale", 1) != 1:
        raise unknown(node)
    operator = "Celu" if operator_name(node).startswith("celu") else "Elu"
    return emitter.emit(operator, [emitter.value(node.args[0])], alpha=float(values["alpha"]))


def _clip(emitter: Emitter, node: fx.Node) -> str:
    """Write a Clip between numbers, or a maximum and a minimum with tensors."""
    values, name = arguments_of(node), emitter.value(node.args[0])
    low, high = values.get("min", values.get("min_val")), values.get("max", values.get("max_val"))
    if isinstance(low, fx.Node) or isinstance(high, fx.Node):
        for operator, limit in (("Max", low), ("Min", high)):
            if limit is not None:
                name = emitter.emit(operator, [name, emitter.value(limit)])
        return name
    dtype = value_of(node).dtype
    limits = ["" if limit is None else emitter.value(limit, dtype) for limit in (low, high)]
    return emitter.emit("Clip", [name, *limits])


def _relu6(emitter: Emitter, node: fx.Node) -> str:
    limits = [emitter.scalar(0.0), emitter.scalar(6.0)]
    return emitter.emit("Clip", [emitter.value(node.args[0]), *limits])


def _silu(emitter: Emitter, node: fx.Node) -> str:
    source = emitter.value(node.args[0])
    return emitter.emit("Mul", [source, emitter.emit("Sigmoid", [source])])


def _mish(emitter: Emitter, node: fx.Node) -> str:
    source = emitter.value(node.args[0])
    gate = emitter.emit("Tanh", [emitter.emit("Softplus", [source])])
    return emitter.emit("Mul", [source, gate])


def _softplus(emitter: Emitter, node: fx.Node) -> str:
    """Write log(1 + exp(beta x)) / beta."""
    beta, source = arguments_of(node)["beta"], emitter.value(node.args[0])
    if beta == 1:
        return emitter.emit("Softplus", [source])
    scale = emitter.scalar(beta)
    result = emitter.emit("Softplus", [emitter.emit("Mul", [source, scale])])
    return emitter.emit("Div", [result, scale])


def _log_sigmoid(emitter: Emitter, node: fx.Node) -> str:
    """Write -softplus(-x)."""
    name = emitter.emit("Neg", [emitter.value(node.args[0])])
    return emitter.emit("Neg", [emitter.emit("Softplus", [name])])


def _shrink(emitter: Emitter, node: fx.Node) -> str:
    """Write hardshrink; or softshrink, which also moves the other values towards zero."""
    border = float(arguments_of(node)["lambd"])
    bias = border if operator_name(node) == "softshrink" else 0.0
    return emitter.emit("Shrink", [emitter.value(node.args[0])], lambd=border, bias=bias)


def _threshold(emitter: Emitter, node: fx.Node) -> str:
    values, name = arguments_of(node), emitter.value(node.args[0])
    above = emitter.emit("Greater", [name, emitter.value(values["threshold"])])
    return emitter.emit("Where", [above, name, emitter.value(values["value"])])


def _prelu(emitter: Emitter, node: fx.Node) -> str:
    values, source = arguments_of(node), emitter.value(node.args[0])
    slope = per_channel(emitter, values["weight"], value_of(node).dim() - 2, "slope")
    return emitter.emit("PRelu", [source, slope])


def _gelu(emitter: Emitter, node: fx.Node) -> str:
    """Write x (1 + erf(x / sqrt 2)) / 2; or with tanh(sqrt(2 / pi) (x + 0.044715 x^3)) for erf."""
    source = emitter.value(node.args[0])
    if arguments_of(node)["approximate"] == "none":
        bell = emitter.emit("Erf", [emitter.emit("Mul", [source, emitter.scalar(0.5**0.5)])])
    else:
        cube = emitter.emit("Pow", [source, emitter.scalar(3.0)])
        cube = emitter.emit("Mul", [cube, emitter.scalar(0.044715)])
        bent = emitter.emit("Add", [source, cube])
        bell = emitter.emit("Mul", [bent, emitter.scalar((2 / np.pi) ** 0.5)])
        bell = emitter.emit("Tanh", [bell])
    result = emitter.emit("Mul", [source, emitter.emit("Add", [bell, emitter.scalar(1.0)])])
    return emitter.emit("Mul", [result, emitter.scalar(0.5)])


def _hardsigmoid(emitter: Emitter, node: fx.Node) -> str:
    return emitter.emit("HardSigmoid", [emitter.value(node.args[0])], alpha=1 / 6, beta=0.5)


def _softmax(emitter: Emitter, node: fx.Node) -> str:
    operator = "LogSoftmax" if operator_name(node).startswith("log") else "Softmax"
    return emitter.emit(operator, [emitter.value(node.args[0])], axis=arguments_of(node)["dim"])


ACTIVATIONS: dict[str, Callable[[Emitter, fx.Node], str]] = {
    "leaky_relu": _leaky_relu, "rrelu": _leaky_relu, "elu": _elu, "celu": _elu,
    "silu": _silu, "mish": _mish, "softplus": _softplus, "log_sigmoid": _log_sigmoid,
    "hardshrink": _shrink, "softshrink": _shrink, "threshold": _threshold, "prelu": _prelu,
    "relu6": _relu6, "hardtanh": _clip, "clamp": _clip, "clamp_min": _clip, "clamp_max": _clip,
    "gelu": _gelu, "hardsigmoid": _hardsigmoid, "softmax": _softmax, "log_softmax": _softmax,
}  # fmt: skip
