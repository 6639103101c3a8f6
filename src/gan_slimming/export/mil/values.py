"""A traced generator's values as they become a MIL program."""

# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

import numpy as np
from torch import fx

from gan_slimming.errors import UserError
from gan_slimming.export.trace.graph import TracedGenerator
from gan_slimming.graph.nodes import module_path, operator_name


class Values:
    """The values of a program under construction, by node.

    Args:
        traced: at one size, with all numbers fixed.
        mb: coremltools' builder, inside a function.
    """

    def __init__(self, traced: TracedGenerator, mb: Any) -> None:
        self.traced, self.mb = traced, mb
        self.known: dict[fx.Node, Any] = {}

    def value(self, argument: Any) -> Any:
        """Return the value of an argument: of a call, a parameter, or a number."""
        if not isinstance(argument, fx.Node):
            return np.float32(argument)
        array = self.traced.tensors.get(argument)
        if array is None:
            return self.known[argument]
        return array.astype(np.float32) if array.dtype == np.float64 else array

    def array(self, argument: Any) -> np.ndarray | None:
        """Return the array of a parameter or buffer; None for None."""
        return None if argument is None else self.traced.tensors[argument]


def unknown(node: fx.Node) -> UserError:
    """Return the refusal of an operator, with its name and layer."""
    where = module_path(node) or "forward"
    name = operator_name(node).strip("_")
    return UserError(f"a Core ML model has no {name} as in {where}; take --format onnx")
