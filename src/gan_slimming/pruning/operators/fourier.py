"""Fourier transforms over pixels, which keep channels apart, and complex numbers."""

from __future__ import annotations

from functools import reduce

import numpy as np
from torch import Tensor, fx

from gan_slimming.graph.nodes import arguments_of, value_of
from gan_slimming.pruning.operators.elementwise import keep, operands_of
from gan_slimming.pruning.operators.handler import Handler, meet, per_channel
from gan_slimming.pruning.operators.shapes import inserted, moved
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Value

MIXED = "its channels lie along axes of a Fourier transform"
TRANSFORMS = [
    f"fft_{back}{real}fft{d}" for back in ("", "i") for real in ("", "r") for d in ("", "2", "n")
]
SHIFTS = ["fft_fftshift", "fft_ifftshift"]


def transform(walk: Propagation, node: fx.Node) -> Value:
    """Transform pixels within each channel; an all-zero channel stays all-zero."""
    dims, rank = arguments_of(node).get("dim"), value_of(node).dim()
    axes = range(rank) if dims is None else [dims] if isinstance(dims, int) else dims
    return per_channel(walk, walk.value(node.args[0]), [int(a) % rank for a in axes], MIXED)


def with_parts(walk: Propagation, node: fx.Node) -> Value:
    """Handle view_as_real: real and imaginary part become the last axis."""
    value = walk.value(node.args[0])
    return inserted(value, value_of(node.args[0]).dim())


def of_parts(walk: Propagation, node: fx.Node) -> Value:
    """Handle view_as_complex, which joins the two entries of the last axis."""
    axis = value_of(node).dim()
    value = per_channel(walk, walk.value(node.args[0]), [axis], MIXED)
    return moved(value, lambda grid: grid.squeeze(axis))


def complex_(walk: Propagation, node: fx.Node) -> Value:
    """Handle complex numbers of two tensors, zero where both are."""
    return _pair(walk, node, polar=False)


def polar(walk: Propagation, node: fx.Node) -> Value:
    """Handle complex numbers of magnitude and angle, zero where the magnitude is."""
    return _pair(walk, node, polar=True)


def _pair(walk: Propagation, node: fx.Node, *, polar: bool) -> Value:
    made = node.meta["val"]
    assert isinstance(made, Tensor)

    def rule(zeros: list[np.ndarray]) -> np.ndarray:
        return zeros[0] if polar else reduce(walk.zeros.both, zeros)

    return meet(walk, operands_of(walk, node.args[:2]), made.dim(), rule)


TABLE: dict[str, Handler] = {
    **dict.fromkeys((*TRANSFORMS, *SHIFTS), transform),
    **dict.fromkeys(("real", "imag", "angle", "conj", "_conj", "resolve_conj"), keep),
    "view_as_real": with_parts, "view_as_complex": of_parts,
    "complex": complex_, "polar": polar,
}  # fmt: skip
