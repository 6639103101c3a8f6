"""Tensors made of numbers alone, beside a tensor that only lends its type."""

from __future__ import annotations

from torch import fx

from gan_slimming.pruning.operators.handler import Handler
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.values import Value


def made(walk: Propagation, node: fx.Node) -> Value:
    """Handle x.new_empty(shape) and the like: nothing of x but its type goes in.

    Noise of one channel concerns no channels; as many numbers as there are channels hold them.
    """
    return Value(fixed="its forward makes as many numbers as it has channels")


TABLE: dict[str, Handler] = {
    f"new_{kind}": made for kind in ("empty", "zeros", "ones", "full", "empty_strided", "tensor")
}
