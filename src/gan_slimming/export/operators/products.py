"""Products of two activations, in float: attention, einsum, convolutions with computed kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import SymInt, fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.int8.convolutions import convolution, transposed_convolution
from gan_slimming.export.kernels.windows import spread
from gan_slimming.export.operators.pixels import picked, picks
from gan_slimming.export.trace.graph import arguments_of, unknown
from gan_slimming.export.trace.tracing import sides_of
from gan_slimming.graph.nodes import operator_name, value_of


def _product(emitter: Emitter, node: fx.Node) -> str:
    """Write a matrix product, in which a vector gets a second axis.

    ONNX Runtime's own product with a vector is wrong behind a Transpose.
    """
    names, squeezed = [], []
    for place, operand in enumerate(node.args[:2]):
        name = emitter.value(operand)
        if value_of(operand).dim() == 1:
            name = emitter.emit("Unsqueeze", [name, emitter.integers([place])])
            squeezed.append(place - 2)
        names.append(name)
    name = emitter.emit("MatMul", names)
    return emitter.emit("Squeeze", [name, emitter.integers(squeezed)]) if squeezed else name


def _attention(emitter: Emitter, node: fx.Node) -> str:
    """Write softmax(q k^T scale + mask) v."""
    values = arguments_of(node)
    side, mask = sides_of(values["key"])[-1], values["attn_mask"]
    if values["is_causal"] or values["enable_gqa"] or values["dropout_p"] or not side.fixed:
        raise unknown(node)
    scale = side.first**-0.5 if values["scale"] is None else values["scale"]
    query, key, value = (emitter.value(values[name]) for name in ("query", "key", "value"))
    rank = value_of(values["key"]).dim()
    order = [*range(rank - 2), rank - 1, rank - 2]
    weights = emitter.emit("MatMul", [query, emitter.emit("Transpose", [key], perm=order)])
    weights = emitter.emit("Mul", [weights, emitter.value(scale)])
    if mask is not None and value_of(mask).dtype == torch.bool:
        never = emitter.scalar(torch.finfo(torch.float32).min)
        weights = emitter.emit("Where", [emitter.value(mask), weights, never])
    elif mask is not None:
        weights = emitter.emit("Add", [weights, emitter.value(mask)])
    return emitter.emit("MatMul", [emitter.emit("Softmax", [weights], axis=-1), value])


def _einsum(emitter: Emitter, node: fx.Node) -> str:
    equation, operands = node.args[:2]
    assert isinstance(operands, list | tuple)
    names = [emitter.value(operand) for operand in operands]
    return emitter.emit("Einsum", names, equation=str(equation).replace(" ", ""))


def _added_product(emitter: Emitter, node: fx.Node) -> str:
    """Write addmm or baddbmm: beta * self + alpha * a b."""
    values = arguments_of(node)
    name = emitter.emit("MatMul", [emitter.value(operand) for operand in node.args[1:3]])
    if values["alpha"] != 1:
        name = emitter.emit("Mul", [name, emitter.value(values["alpha"])])
    added = emitter.value(values["self"])
    if values["beta"] != 1:
        added = emitter.emit("Mul", [added, emitter.value(values["beta"])])
    return emitter.emit("Add", [added, name])


def _convolution(emitter: Emitter, node: fx.Node) -> str:
    """Write a convolution; one with a group per image becomes a matrix product per image."""
    transposed = operator_name(node).startswith("conv_transpose")
    if isinstance(arguments_of(node)["groups"], SymInt):
        return (_modulated_transposed if transposed else _modulated)(emitter, node)
    return (transposed_convolution if transposed else convolution)(emitter, node)


def _modulated(emitter: Emitter, node: fx.Node) -> str:
    """Write StyleGAN2's modulated convolution: images side by side as channels, with a kernel each.

    The pixels under a kernel become channels, and a matrix product mixes them, because ONNX has no
    convolution whose number of groups follows the batch.
    """
    values, window, kernel = _window(node)
    weight = sides_of(values["weight"])
    inputs = weight[1].first
    outputs = weight[0].first * inputs // sides_of(values["input"])[1].first
    name = _side_by_side(emitter, node, inputs)
    columns = picked(emitter, node, name, kernel, inputs, **window)
    rows = inputs * kernel[0] * kernel[1]
    flat = emitter.emit("Reshape", [columns, emitter.integers([0, rows, -1])])
    matrix_shape = emitter.integers([-1, outputs, rows])
    matrix = emitter.emit("Reshape", [emitter.value(values["weight"]), matrix_shape])
    return _as_channels(emitter, node, emitter.emit("MatMul", [matrix, flat]), columns)


def _modulated_transposed(emitter: Emitter, node: fx.Node) -> str:
    """Write a modulated transposed convolution: a matrix product, then a sum over kernel places."""
    values, window, kernel = _window(node)
    weight = sides_of(values["weight"])
    outputs = weight[1].first
    inputs = weight[0].first * outputs // sides_of(node)[1].first
    name = _side_by_side(emitter, node, inputs)
    rows = outputs * kernel[0] * kernel[1]
    matrix_shape = emitter.integers([-1, inputs, rows])
    matrix = emitter.emit("Reshape", [emitter.value(values["weight"]), matrix_shape])
    matrix = emitter.emit("Transpose", [matrix], perm=[0, 2, 1])
    flat = emitter.emit("Reshape", [name, emitter.integers([0, inputs, -1])])
    mixed = emitter.emit("MatMul", [matrix, flat])
    sides = emitter.emit("Gather", [emitter.shape_of(name), emitter.integers([2, 3])])
    shape = emitter.emit("Concat", [emitter.integers([0, rows]), sides], axis=0)
    mixed = emitter.emit("Reshape", [mixed, shape])
    window["output_padding"] = spread(values["output_padding"], 2)
    weights = emitter.constant(picks(kernel, outputs), "picks")
    result = emitter.emit(
        "ConvTranspose", [mixed, weights], group=outputs, kernel_shape=kernel, **window
    )
    return _as_channels(emitter, node, result, result)


def _window(node: fx.Node) -> tuple[dict[str, Any], dict[str, Any], list[int]]:
    """Return arguments, ONNX's attributes and kernel of a modulated convolution, or refuse it."""
    values = arguments_of(node)
    weight, source = sides_of(values["weight"]), sides_of(values["input"])
    fixed = all(side.fixed for side in weight[1:]) and source[0][:2] == (1, 1)
    if not fixed or len(weight) != 4 or values["bias"] is not None:
        raise unknown(node)
    if isinstance(values["padding"], str):
        raise unknown(node)
    window = {
        "strides": spread(values["stride"], 2), "dilations": spread(values["dilation"], 2),
        "pads": spread(values["padding"], 2) * 2,
    }  # fmt: skip
    return values, window, [side.first for side in weight[2:]]


def _side_by_side(emitter: Emitter, node: fx.Node, channels: int) -> str:
    """Turn the channels of one image into images again."""
    name = emitter.value(node.args[0])
    return emitter.emit("Reshape", [name, emitter.integers([-1, channels, 0, 0])])


def _as_channels(emitter: Emitter, node: fx.Node, name: str, pixels: str) -> str:
    """Turn images into the channels of one; `pixels` has their height and width."""
    sides = emitter.emit("Gather", [emitter.shape_of(pixels), emitter.integers([2, 3])])
    shape = emitter.emit("Concat", [emitter.integers([1, -1]), sides], axis=0)
    return emitter.emit("Reshape", [name, shape])


PRODUCTS: dict[str, Callable[[Emitter, fx.Node], str]] = {
    **{f"{kind}{d}d": _convolution for kind in ("conv", "conv_transpose") for d in (1, 2, 3)},
    "scaled_dot_product_attention": _attention, "einsum": _einsum,
    **dict.fromkeys(("matmul", "bmm", "mm", "mv"), _product),
    "addmm": _added_product, "baddbmm": _added_product,
}  # fmt: skip
