"""Pools, resizes and shuffles of pixels in LiteRT."""

from __future__ import annotations

from collections.abc import Callable

from torch import fx

from gan_slimming.export.kernels.windows import spread
from gan_slimming.export.tflite.emitter import Emitter, in_file, unknown
from gan_slimming.export.tflite.pads import COLUMNS, ROWS
from gan_slimming.export.tflite.windows import VALID
from gan_slimming.export.trace.graph import arguments_of
from gan_slimming.graph.nodes import operator_name, value_of


def _pool(emitter: Emitter, node: fx.Node) -> int:
    values = arguments_of(node)
    kernel, padding = spread(values["kernel_size"], 2), spread(values["padding"], 2)
    stride = spread(values["stride"] or kernel, 2)
    plain = not any(padding) and not values["ceil_mode"] and values.get("divisor_override") is None
    if value_of(node).dim() != 4 or not plain or {*spread(values.get("dilation", 1), 2)} != {1}:
        raise unknown(node)
    largest = operator_name(node).startswith("max")
    return emitter.model.emit(
        "MAX_POOL_2D" if largest else "AVERAGE_POOL_2D", [emitter.value(node.args[0])],
        in_file(value_of(node).shape), "Pool2DOptions", padding=VALID,
        filterHeight=kernel[0], filterWidth=kernel[1], strideH=stride[0], strideW=stride[1],
    )  # fmt: skip


def _whole_pool(emitter: Emitter, node: fx.Node) -> int:
    if list(arguments_of(node)["output_size"]) != [1, 1]:
        raise unknown(node)
    return emitter.mean(emitter.value(node.args[0]), (ROWS, COLUMNS))


def _nearest(emitter: Emitter, node: fx.Node) -> int:
    """Write whole factors as copies side by side, and then as copies of whole rows."""
    source = emitter.value(node.args[0])
    _, height, width, channels = emitter.model.shape(source)
    _, tall, wide, _ = in_file(value_of(node).shape)
    if tall % height or wide % width:
        raise unknown(node)
    tensor = emitter.joined([source] * (wide // width), 3)
    tensor = emitter.plain_reshape(tensor, (1, height, 1, wide * channels))
    tensor = emitter.joined([tensor] * (tall // height), 2)
    return emitter.plain_reshape(tensor, (1, tall, wide, channels))


def _bilinear(emitter: Emitter, node: fx.Node) -> int:
    shape, corners = in_file(value_of(node).shape), bool(arguments_of(node)["align_corners"])
    operands = [emitter.value(node.args[0]), emitter.model.constant(list(shape[1:3]))]
    return emitter.model.emit(
        "RESIZE_BILINEAR", operands, shape, "ResizeBilinearOptions",
        alignCorners=corners, halfPixelCenters=not corners,
    )  # fmt: skip


def _pixel_shuffle(emitter: Emitter, node: fx.Node) -> int:
    """Write a transposition: the format's own shuffle has another order of channels."""
    source, factor = emitter.value(node.args[0]), arguments_of(node)["upscale_factor"]
    _, height, width, channels = emitter.model.shape(source)
    shape = (height, width, channels // factor**2, factor, factor)
    tensor = emitter.ordered(emitter.plain_reshape(source, shape), (0, 3, 1, 4, 2))
    return emitter.plain_reshape(tensor, in_file(value_of(node).shape))


PIXELS: dict[str, Callable[[Emitter, fx.Node], int]] = {
    "max_pool2d": _pool, "avg_pool2d": _pool, "adaptive_avg_pool2d": _whole_pool,
    "upsample_nearest2d": _nearest, "upsample_bilinear2d": _bilinear,
    "pixel_shuffle": _pixel_shuffle,
}  # fmt: skip
