"""Pools in ONNX, with windows of one size or windows that divide an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from torch import SymInt, fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.kernels.windows import spread
from gan_slimming.export.operators.reductions import reduced
from gan_slimming.export.operators.shapes import counted
from gan_slimming.export.trace.graph import arguments_of, unknown
from gan_slimming.export.trace.tracing import expression, sides_of
from gan_slimming.graph.nodes import operator_name, value_of


def _pool(emitter: Emitter, node: fx.Node) -> str:
    values, dims = arguments_of(node), value_of(node).dim() - 2
    kernel, padding = spread(values["kernel_size"], dims), spread(values["padding"], dims)
    window: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": spread(values["stride"] or kernel, dims),
        "pads": padding * 2,
        "ceil_mode": int(values["ceil_mode"]),
    }
    if operator_name(node).startswith("max_pool"):
        if set(spread(values["dilation"], dims)) != {1}:
            raise unknown(node)
        return emitter.emit("MaxPool", [emitter.value(node.args[0])], **window)
    if values.get("divisor_override") is not None:
        raise unknown(node)
    window["count_include_pad"] = int(values["count_include_pad"])
    return emitter.emit("AveragePool", [emitter.value(node.args[0])], **window)


def _adaptive_pool(emitter: Emitter, node: fx.Node) -> str:
    """Write means of windows that divide the image, as matrix products from left and right."""
    sizes, name = arguments_of(node)["output_size"], emitter.value(node.args[0])
    if list(sizes) == [1, 1]:
        return emitter.emit("GlobalAveragePool", [name])
    for axis, size in zip((2, 3), sizes, strict=True):
        side = sides_of(node.args[0])[axis]
        if isinstance(size, int) and size == 1:
            name = reduced(emitter, "ReduceMean", name, [axis])
            continue
        if side.fixed and isinstance(size, int):
            weights = emitter.constant(window_means(side.first, size), "means")
            weights = emitter.emit("Transpose", [weights], perm=[1, 0]) if axis == 3 else weights
        elif not side.fixed and expression(size) == expression(side.symbol):
            continue
        else:
            weights = _means(emitter, emitter.side(node.args[0], axis), size, axis)
        name = emitter.emit("MatMul", [weights, name] if axis == 2 else [name, weights])
    return name


def window_means(length: int, count: int) -> np.ndarray:
    """Return (count, length): row i is 1 / n on the n pixels from i * length // count on."""
    numbers, places = np.arange(count)[:, None], np.arange(length)
    starts, ends = numbers * length // count, -(-(numbers + 1) * length // count)
    inside = (places >= starts) & (places < ends)
    return (inside / (ends - starts)).astype(np.float32)


def _means(emitter: Emitter, length: str, size: int | SymInt, axis: int) -> str:
    """Compute `window_means` in the file; transposed for the last axis."""

    def sums(operator: str, one: str, other: str) -> str:
        return emitter.emit(operator, [one, other])

    count, one = emitter.size(size), emitter.integers([1])
    numbers, places = counted(emitter, count), counted(emitter, length)
    behind = sums("Mul", sums("Add", numbers, one), length)
    starts = sums("Div", sums("Mul", numbers, length), count)
    ends = sums("Div", sums("Add", behind, sums("Sub", count, one)), count)
    axes = [emitter.integers([a]) for a in ((1, 0) if axis == 2 else (0, 1))]
    starts, ends = (sums("Unsqueeze", name, axes[0]) for name in (starts, ends))
    places = sums("Unsqueeze", places, axes[1])
    below = sums("Less", places, ends)
    inside = sums("And", sums("GreaterOrEqual", places, starts), below)
    pair = [inside, sums("Sub", ends, starts)]
    return emitter.emit("Div", [emitter.emit("Cast", [n], to=TensorProto.FLOAT) for n in pair])


def _adaptive_max(emitter: Emitter, node: fx.Node) -> str:
    """Write adaptive_max_pool2d to one pixel."""
    if list(arguments_of(node)["output_size"]) != [1, 1]:
        raise unknown(node)
    largest = emitter.emit("GlobalMaxPool", [emitter.value(node.args[0])])
    emitter.outputs[node] = [largest]
    return largest


POOLS: dict[str, Callable[[Emitter, fx.Node], str]] = {
    **{f"{kind}_pool{dims}d": _pool for kind in ("avg", "max") for dims in (1, 2, 3)},
    "adaptive_avg_pool2d": _adaptive_pool, "adaptive_max_pool2d": _adaptive_max,
}  # fmt: skip
