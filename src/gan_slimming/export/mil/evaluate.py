"""A saved ML program computed in torch: what its graph and constants say, not Apple's kernels.

Core ML runs on Apple's systems alone. Constants are in half precision, as in the file; arithmetic
is in float32.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_slimming.errors import UserError

Given = Mapping[str, Any]
"""Inputs of an operator by name: tensors, or plain values of constants."""
_LIMITS = {"int8": (-128, 127), "uint8": (0, 255)}


def evaluate(program: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the first output of a program's function main.

    Args:
        inputs: by name, as the program has them.
    Raises:
        UserError: it has an operator that is not known here.
    """
    function = program.functions["main"]
    known: dict[str, Any] = {function.inputs[name].name: x for name, x in inputs.items()}
    for operator in function.operations:
        if operator.op_type == "const":
            value = operator.outputs[0].val
            known[operator.outputs[0].name] = _constant(value)
            continue
        if operator.op_type not in OPERATORS:
            raise UserError(
                f"Core ML's {operator.op_type} cannot be checked here; take --format onnx, and "
                "please report the generator"
            )
        given = {name: _read(known, value) for name, value in operator.inputs.items()}
        known[operator.outputs[0].name] = OPERATORS[operator.op_type](given)
    return known[function.outputs[0].name]


def _read(known: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_read(known, part) for part in value]
    return None if value is None else known[value.name]


def _constant(value: Any) -> Any:
    """Return a constant: arrays of real numbers and codes as tensors, others as they are."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.dtype != np.int32:
        real = value.dtype.kind == "f"
        return torch.from_numpy(value.astype(np.float32) if real else value.copy())
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _along(vector: Any, axis: Any, rank: int) -> Any:
    if not isinstance(vector, Tensor) or vector.dim() == 0:
        return vector
    return vector.view([-1 if n == int(axis) % rank else 1 for n in range(rank)])


def _weight(given: Given) -> Tensor:
    codes = given["quantized_data"].float()
    scale, zero = (_along(given[k], given["axis"], codes.dim()) for k in ("scale", "zero_point"))
    return (codes - zero) * scale


def _quantize(given: Given) -> Tensor:
    values = given["input"]
    scale = _along(given["scale"], given.get("axis") or 0, values.dim())
    return torch.clamp((values / scale).round(), *_LIMITS[given["output_dtype"]])


def _dequantize(given: Given) -> Tensor:
    values = given["input"]
    return values * _along(given["scale"], given.get("axis") or 0, values.dim())


def _conv(given: Given) -> Tensor:
    values, weight, dims = given["x"], given["weight"], given["x"].dim() - 2
    function: Any = (F.conv1d, F.conv2d)[dims - 1]
    padding: Any = given["pad_type"]
    if padding == "custom":
        sides = list(given["pad"])
        values, padding = F.pad(values, _from_last(sides)), 0
    how = (given["strides"], padding, given["dilations"], given["groups"])
    return function(values, weight, given.get("bias"), *how)


def _from_last(sides: list[int]) -> list[int]:
    """Return pairs of pads with the last axis first, as torch has them."""
    pairs = [sides[n : n + 2] for n in range(0, len(sides), 2)]
    return [n for pair in reversed(pairs) for n in pair]


def _conv_transpose(given: Given) -> Tensor:
    """Compute without pads, then cut to the output's shape from where the pads end."""
    dims = given["x"].dim() - 2
    function: Any = (F.conv_transpose1d, F.conv_transpose2d)[dims - 1]
    how = (given["strides"], 0, 0, given["groups"], given["dilations"])
    made = function(given["x"], given["weight"], None, *how)
    for axis, length in enumerate(given["output_shape"][2:], 2):
        start = int(given["pad"][2 * (axis - 2)])
        missing = start + int(length) - made.shape[axis]
        if missing > 0:
            made = F.pad(made, [0, 0] * (made.dim() - 1 - axis) + [0, missing])
        made = made.narrow(axis, start, int(length))
    bias = given.get("bias")
    return made if bias is None else made + _along(bias, 1, made.dim())


def _pad(given: Given) -> Tensor:
    mode = "constant" if given["mode"] == "constant" else given["mode"]
    return F.pad(given["x"], _from_last(list(given["pad"])), mode=mode)


def _instance_norm(given: Given) -> Tensor:
    return F.instance_norm(
        given["x"], weight=given.get("gamma"), bias=given.get("beta"), eps=given["epsilon"]
    )


def _batch_norm(given: Given) -> Tensor:
    statistics = given["mean"], given["variance"]
    vectors = given.get("gamma"), given.get("beta")
    return F.batch_norm(given["x"], *statistics, *vectors, eps=given["epsilon"])


def _nearest(given: Given) -> Tensor:
    factors = [given["scale_factor_height"], given["scale_factor_width"]]
    return F.interpolate(given["x"], scale_factor=[float(n) for n in factors])


def _average(given: Given) -> Tensor:
    return F.avg_pool2d(given["x"], list(given["kernel_sizes"]), list(given["strides"]))


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[[Given], Tensor]:
    return lambda given: function(given["x"])


def _binary(function: Callable[..., Tensor]) -> Callable[[Given], Tensor]:
    def compute(given: Given) -> Tensor:
        return function(*(torch.as_tensor(given[name]) for name in ("x", "y")))

    return compute


OPERATORS: dict[str, Callable[[Given], Tensor]] = {
    "cast": lambda given: given["x"], "constexpr_affine_dequantize": _weight,
    "quantize": _quantize, "dequantize": _dequantize,
    "conv": _conv, "conv_transpose": _conv_transpose, "pad": _pad, "avg_pool": _average,
    "linear": lambda given: F.linear(given["x"], given["weight"], given.get("bias")),
    "instance_norm": _instance_norm, "batch_norm": _batch_norm,
    "upsample_nearest_neighbor": _nearest,
    "pixel_shuffle": lambda given: F.pixel_shuffle(given["x"], int(given["upscale_factor"])),
    "concat": lambda given: torch.cat(given["values"], int(given["axis"])),
    "reshape": lambda given: given["x"].reshape([int(n) for n in given["shape"]]),
    "reduce_mean": lambda given: given["x"].mean(list(given["axes"]), bool(given["keep_dims"])),
    "relu": _unary(torch.relu), "tanh": _unary(torch.tanh), "sigmoid": _unary(torch.sigmoid),
    "abs": _unary(torch.abs), "exp": _unary(torch.exp), "sqrt": _unary(torch.sqrt),
    "silu": _unary(F.silu), "relu6": _unary(F.relu6), "square": _unary(torch.square),
    "leaky_relu": lambda given: F.leaky_relu(given["x"], given["alpha"]),
    "prelu": lambda given: F.prelu(given["x"], given["alpha"]),
    "clip": lambda given: given["x"].clamp(given["alpha"], given["beta"]),
    "add": _binary(torch.add), "sub": _binary(torch.sub), "mul": _binary(torch.mul),
    "real_div": _binary(torch.div), "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
}  # fmt: skip
