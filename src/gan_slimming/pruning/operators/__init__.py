"""The operator tables: the effect of each call on channels, one file per family.

A handler takes the walk and the call, and returns the value of the result. If it drops a factor of
its inputs, it has to say what becomes of those channels. Either they are read, and must be zero
once dead, or they are protected, and never die.
"""

from __future__ import annotations

from gan_slimming.pruning.operators import (
    creation,
    elementwise,
    fourier,
    joining,
    norms,
    products,
    reductions,
    selection,
    shapes,
    spatial,
    weighted,
)
from gan_slimming.pruning.operators.elementwise import keeps_zero
from gan_slimming.pruning.operators.handler import Handler

TABLE: dict[str, Handler] = {
    **creation.TABLE,
    **elementwise.TABLE,
    **fourier.TABLE,
    **joining.TABLE,
    **norms.TABLE,
    **products.TABLE,
    **reductions.TABLE,
    **selection.TABLE,
    **shapes.TABLE,
    **spatial.TABLE,
    **weighted.TABLE,
}
VIEWS = shapes.VIEWS | selection.VIEWS
"""Operators whose result shares memory with their argument."""
ORDINARY = frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear batch_norm "  # noqa: SIM905
    "instance_norm add add_ sub mul div cat relu relu_ leaky_relu leaky_relu_ prelu elu silu gelu "
    "tanh pixel_shuffle upsample_nearest2d upsample_bilinear2d reflection_pad2d replication_pad2d "
    "pad avg_pool2d max_pool2d dropout feature_dropout contiguous clone hardtanh relu6 neg "
    "hardtanh_ hardswish mish elu_ silu_ abs detach alias constant_pad_nd".split()
)
"""Operators of ordinary convolutional generators; anything else calls for a verified cut."""


def handler_of(name: str) -> Handler | None:
    """Return the handler of an operator; an in-place operator uses that of its twin."""
    return TABLE.get(name) or TABLE.get(name.removesuffix("_"))


__all__ = ["ORDINARY", "TABLE", "VIEWS", "handler_of", "keeps_zero"]
