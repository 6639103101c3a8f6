"""Operators that mix the pixels of each channel alone: resizing, padding, pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import fx

from gan_slimming.graph.nodes import arguments_of, value_of
from gan_slimming.pruning.operators.handler import Handler, per_channel
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Factor, Value

MIXED = "its channels lie along axes whose pixels are mixed"
MIX = frozenset(
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "  # noqa: SIM905
    "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d "
    "upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa _upsample_bicubic2d_aa "
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "max_pool1d max_pool2d max_pool3d reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d".split()
)
PAIRS = frozenset(
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max_pool1d_with_indices "  # noqa: SIM905
    "max_pool2d_with_indices max_pool3d_with_indices".split()
)
"""Operators that return values and their indices."""


def _axes(node: fx.Node) -> Sequence[int]:
    return range(2, value_of(node.args[0]).dim())


def mix(walk: Propagation, node: fx.Node) -> Value:
    """Mix pixels within each channel; an all-zero channel stays all-zero."""
    return per_channel(walk, walk.value(node.args[0]), _axes(node), MIXED)


def mix_and_index(walk: Propagation, node: fx.Node) -> list[Value]:
    """Mix pixels and return their indices, too, which carry no channels."""
    value = mix(walk, node)
    walk.unusual = True
    return [value, Value(fixed="it is an index of a maximum")]


def pad(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    """Pad every channel; it stays zero unless the padding has another value."""
    values = arguments_of(node)
    pads = values["pad"]
    rank = value_of(node).dim()
    padded = [rank - 1 - number // 2 for number, size in enumerate(pads) if size]
    value = walk.value(node.args[0])
    if any(axis in f.varies and len(f.varies) == 1 for f in value.factors for axis in padded):
        return walk.barrier(node, "its channels are padded")
    value = per_channel(walk, value, padded, MIXED)
    if values.get("mode", "constant") != "constant" or not values.get("value"):
        return value
    never = walk.zeros.never("it is padded with a value other than zero")
    made = [Factor(f.slots, np.full_like(f.zero, never)) for f in value.factors]
    return Value(tuple(made), value.fixed)


def grid_sample(walk: Propagation, node: fx.Node) -> Value:
    """Sample pixels by a grid, and protect channels that the grid depends on."""
    walk.protect_all(walk.value(node.args[1]), "a sampling grid is made of it")
    return mix(walk, node)


TABLE: dict[str, Handler] = {
    **dict.fromkeys(MIX, mix),
    **dict.fromkeys(PAIRS, mix_and_index),
    "pad": pad, "constant_pad_nd": pad, "grid_sampler": grid_sample,
}  # fmt: skip
