"""The rewrites that a convolution's window allows, and the rewritten weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from gan_slimming.export.kernels.rewrites import (
    blocks_as_channels,
    overhang,
    phases_as_channels,
    subpixel_convolution,
)
from gan_slimming.export.trace.graph import TracedGenerator
from gan_slimming.export.trace.tracing import sides_of
from gan_slimming.graph.nodes import operator_name

BLOCK = 2
"""Rows and columns of pixels that a layer with few outputs computes at once."""
INPUTS_AT_ONCE = 4
OUTPUTS_AT_ONCE = 8
"""Channels of bytes that ONNX Runtime's fast kernel takes together."""
MAX_BLOCK_OUTPUTS = 4
"""Greatest number of outputs for blocks: BLOCK**2 times as many fit the 16 lanes of a wide CPU."""


def spread(value: Any, dims: int) -> list[int]:
    """Return one number, or a list of them, as a list of `dims`."""
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    return numbers * dims if len(numbers) == 1 else numbers


def has_integers(operator: str, window: dict[str, Any]) -> bool:
    """Return whether ONNX has the operator on integers, or a rewrite to one."""
    if operator == "ConvTranspose":
        return is_subpixel(window) or is_of_signals(window)
    return operator in ("Gemm", "MatMul") or len(window["kernel_shape"]) <= 2


def is_of_signals(window: dict[str, Any]) -> bool:
    """Return whether a transposed convolution of signals can become one with its phases apart."""
    return window["group"] == 1 and window["dilations"] == [1]


def is_subpixel(window: dict[str, Any]) -> bool:
    """Return whether a transposed convolution can become a subpixel one, perhaps cropped."""
    strides, dilations = window["strides"], window["dilations"]
    return window["group"] == 1 and len(strides) == 2 and {*dilations} == {1} == {len({*strides})}


def overhangs(window: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Return the further cells and the crop of a subpixel convolution, (rows, columns) each."""
    sides = (window[name][:2] for name in ("kernel_shape", "strides", "pads", "output_padding"))
    pairs = [overhang(*side) for side in zip(*sides, strict=True)]
    return [cells for cells, _ in pairs], [crop for _, crop in pairs]


def rows_to_split(codes: np.ndarray, window: dict[str, Any]) -> int:
    """Return the number of kernel rows to sum outside the convolution, 0 for none.

    ONNX Runtime copies the image in * height * width times in front of its multiplication. With few
    output channels, as in the last layer, that is most of the work.
    """
    if codes.ndim != 4:
        return 0
    outputs, inputs, height, width = codes.shape
    few = 8 * outputs <= inputs * width
    return height if few and _has_plain_rows(codes, window) else 0


def reads_thin_rows(codes: np.ndarray, window: dict[str, Any]) -> bool:
    """Return whether kernel rows should become input channels of a convolution of bytes.

    ONNX Runtime's fast kernel multiplies one kernel place after the other. With an image's few
    channels it has few products at each. It exists for some numbers of outputs only.
    """
    outputs, inputs = codes.shape[:2]
    thin = inputs < INPUTS_AT_ONCE and outputs % OUTPUTS_AT_ONCE == 0
    return thin and _has_plain_rows(codes, window)


def _has_plain_rows(codes: np.ndarray, window: dict[str, Any]) -> bool:
    """Return whether a kernel has several rows, and no strides, dilations or groups."""
    plain = {*window.get("strides", [1]), *window.get("dilations", [1]), window.get("group", 1)}
    return plain == {1} and codes.ndim == 4 and codes.shape[2] > 1


def fits_blocks(
    traced: TracedGenerator, node: fx.Node, codes: np.ndarray, window: dict[str, Any]
) -> bool:
    """Return whether a last layer should compute blocks: few outputs, and always whole blocks."""
    plain = {*window["strides"], *window["dilations"], window["group"]} == {1}
    few = codes.ndim == 4 and codes.shape[0] <= MAX_BLOCK_OUTPUTS and min(codes.shape[2:]) > 1
    output_sides, input_sides = sides_of(node)[2:], traced.sides
    whole = len(output_sides) == len(input_sides) == 2 and traced.step % BLOCK == 0
    for one, other in zip(output_sides, input_sides, strict=False):
        whole = whole and one.first % other.first == 0 and one.second % other.second == 0
    return plain and few and whole and not _feeds_layer(node)


def _feeds_layer(node: fx.Node) -> bool:
    """Return whether another layer reads a layer's output, directly or not."""
    waiting, seen = [*node.users], set()
    while waiting:
        user = waiting.pop()
        if operator_name(user).startswith(("conv", "linear")):
            return True
        waiting += [other for other in user.users if other not in seen]
        seen.add(user)
    return False


def in_blocks(
    codes: np.ndarray, scale: np.ndarray, bias: np.ndarray | None, window: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Return weights, vectors and window of the convolution that computes BLOCK x BLOCK pixels."""
    spread = blocks_as_channels(codes, BLOCK)
    shape = {"strides": [BLOCK, BLOCK], "kernel_shape": list(spread.shape[2:])}
    tiled = None if bias is None else np.tile(bias, BLOCK**2)
    return spread, np.tile(scale, BLOCK**2), tiled, {**window, **shape}


def subpixel(
    codes: np.ndarray, scale: np.ndarray, bias: np.ndarray | None, window: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Return weights, vectors and window of the convolution that replaces a transposed one.

    ONNX has no transposed convolution on integers.
    """
    factor, padding = window["strides"][0], tuple(window["pads"][:2])
    spread, (top, left, bottom, right) = subpixel_convolution(codes, factor, padding)
    (below, beside), _ = overhangs(window)
    tiled = None if bias is None else np.tile(bias, factor**2)
    pads = [top, left, bottom + below, right + beside]
    return spread, np.tile(scale, factor**2), tiled, {
        "pads": pads, "kernel_shape": list(spread.shape[2:])
    }  # fmt: skip


def phases(
    codes: np.ndarray, scale: np.ndarray, bias: np.ndarray | None, window: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, dict[str, Any], int]:
    """Return what `subpixel` does, for signals, and the samples to cut off in the end."""
    (factor,), padding = window["strides"], window["pads"][0]
    spread, (before, behind) = phases_as_channels(codes, factor, padding)
    cells, crop = overhang(codes.shape[2], factor, padding, window["output_padding"][0])
    tiled = None if bias is None else np.tile(bias, factor)
    pads = {"pads": [before, behind + cells], "kernel_shape": [spread.shape[2]]}
    return spread, np.tile(scale, factor), tiled, pads, crop
