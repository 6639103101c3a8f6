"""Operators in ONNX that resize images, or turn pixels into channels and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import fx

from gan_slimming.export.emitter import Emitter
from gan_slimming.export.trace.graph import arguments_of, unknown
from gan_slimming.export.trace.tracing import sides_of
from gan_slimming.graph.nodes import operator_name, value_of

HALF_PIXEL = {"coordinate_transformation_mode": "half_pixel"}
RESIZES: dict[str, dict[str, Any]] = {
    "nearest": {
        "mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric",
    },
    "nearest_exact": {"mode": "nearest", "nearest_mode": "round_prefer_ceil", **HALF_PIXEL},
    "linear": {"mode": "linear", **HALF_PIXEL},
    "bilinear": {"mode": "linear", **HALF_PIXEL},
    "trilinear": {"mode": "linear", **HALF_PIXEL},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.75, **HALF_PIXEL},
}  # fmt: skip
"""Torch's resize mode -> ONNX's attributes."""
GRID_MODES = (("bilinear", "linear"), ("nearest", "nearest"), ("bicubic", "cubic"))
"""Interpolation modes by torch's number: ONNX's name before opset 20, and since."""
GRID_PADS = ("zeros", "border", "reflection")


def _resize(emitter: Emitter, node: fx.Node) -> str:
    """Write a resize by factors or to sizes."""
    values, source = arguments_of(node), emitter.value(node.args[0])
    factors, kind = values.get("scale_factors"), operator_name(node).strip("_")
    how = dict(RESIZES[kind.removeprefix("upsample_")[:-2]])
    if values.get("align_corners"):
        how["coordinate_transformation_mode"] = "align_corners"
    if factors is not None:
        scales = emitter.constant(np.array([1, 1, *factors], np.float32), "scales")
        return emitter.emit("Resize", [source, "", scales], **how)
    sides = [emitter.side(node.args[0], axis) for axis in (0, 1)]
    sizes = emitter.sizes([*sides, *values["output_size"]])
    return emitter.emit("Resize", [source, "", "", sizes], **how)


def _grid_sample(emitter: Emitter, node: fx.Node) -> str:
    values = arguments_of(node)
    how = {
        "mode": GRID_MODES[values["interpolation_mode"]][emitter.opset >= 20],
        "padding_mode": GRID_PADS[values["padding_mode"]],
        "align_corners": int(values["align_corners"]),
    }
    return emitter.emit("GridSample", [emitter.value(v) for v in node.args[:2]], **how)


def _pixel_shuffle(emitter: Emitter, node: fx.Node) -> str:
    factor = arguments_of(node)["upscale_factor"]
    source = emitter.value(node.args[0])
    return emitter.shuffle(source, factor, "CRD")


def _pixel_unshuffle(emitter: Emitter, node: fx.Node) -> str:
    """Write pixel_unshuffle as a convolution, because SpaceToDepth orders channels differently."""
    factor = arguments_of(node)["downscale_factor"]
    return picked(emitter, node, emitter.value(node.args[0]), [factor] * 2, strides=[factor] * 2)


def _unfold(emitter: Emitter, node: fx.Node) -> str:
    """Write aten.im2col: the pixels under a kernel become channels."""
    values = arguments_of(node)
    window: dict[str, Any] = {
        "pads": list(values["padding"]) * 2, "strides": list(values["stride"]),
        "dilations": list(values["dilation"]),
    }  # fmt: skip
    name = emitter.value(node.args[0])
    name = picked(emitter, node, name, list(values["kernel_size"]), **window)
    return emitter.emit("Reshape", [name, emitter.integers([0, sides_of(node)[1].first, -1])])


def picked(
    emitter: Emitter, node: fx.Node, name: str, kernel: list[int], channels: int = 0, **window: Any
) -> str:
    """Write a convolution that copies each channel once for each place of a kernel.

    Args:
        name: (batch, channels, height, width); the call's first argument if channels is 0.
    """
    if not channels:
        sides = sides_of(node.args[0])
        if len(sides) != 4 or not sides[1].fixed:
            raise unknown(node)
        channels = sides[1].first
    weight = emitter.constant(picks(kernel, channels), "picks")
    how = {"kernel_shape": kernel, "group": channels, **window}
    return emitter.emit("Conv", [name, weight], **how)


def picks(kernel: list[int], channels: int) -> np.ndarray:
    """Return (channels * places, 1, *kernel): a one at each place of the kernel in turn."""
    places = int(np.prod(kernel))
    one = np.eye(places, dtype=np.float32).reshape(places, 1, *kernel)
    return np.tile(one, (channels, 1, *[1] * len(kernel)))


def _channel_shuffle(emitter: Emitter, node: fx.Node) -> str:
    """Reorder channels from (groups, each) to (each, groups)."""
    name, count = emitter.value(node.args[0]), arguments_of(node)["groups"]
    side = sides_of(node)[1]
    if not side.fixed or value_of(node).dim() != 4:
        raise unknown(node)
    sets = emitter.integers([0, count, side.first // count, -1])
    shuffled = emitter.emit("Reshape", [name, sets])
    shuffled = emitter.emit("Transpose", [shuffled], perm=[0, 2, 1, 3])
    return emitter.emit("Reshape", [shuffled, emitter.shape_of(name)])


PIXELS: dict[str, Callable[[Emitter, fx.Node], str]] = {
    "upsample_nearest1d": _resize, "upsample_nearest2d": _resize, "upsample_nearest3d": _resize,
    "upsample_nearest_exact1d": _resize, "upsample_nearest_exact2d": _resize,
    "upsample_linear1d": _resize, "upsample_bilinear2d": _resize, "upsample_trilinear3d": _resize,
    "upsample_bicubic2d": _resize, "grid_sampler": _grid_sample,
    "pixel_shuffle": _pixel_shuffle, "pixel_unshuffle": _pixel_unshuffle, "im2col": _unfold,
    "channel_shuffle": _channel_shuffle,
}  # fmt: skip
