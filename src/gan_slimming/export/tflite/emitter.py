"""A traced generator as it becomes a .tflite model: its values by node, channels last.

Values of four axes have the channels last in the file. All others keep torch's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from gan_slimming.errors import UserError
from gan_slimming.export.tflite.model import Model
from gan_slimming.export.trace.graph import TracedGenerator
from gan_slimming.graph.nodes import module_path, operator_name, value_of

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Orders of axes: from channels first to last, and back."""


class Emitter:
    """A writer of the counterpart of a traced generator.

    Args:
        traced: at one size, with all numbers fixed.
    """

    def __init__(self, traced: TracedGenerator) -> None:
        self.traced = traced
        self.model = Model()
        self.float_layers: list[str] = []
        self.values: dict[fx.Node, int] = {}
        self.lists: dict[fx.Node, list[int]] = {}
        for node in traced.sources.values():
            value = value_of(node)
            whole = not value.is_floating_point()
            self.values[node] = self.source_of(tuple(value.shape), "int64" if whole else "float32")

    def source_of(self, shape: Sequence[int], dtype: str = "float32") -> int:
        """Add an input of the model, of a shape as in torch."""
        return self.model.tensor(in_file(shape), dtype)

    def value(self, argument: Any, rank: int | None = None) -> int:
        """Return the tensor of an argument: of a call, a parameter, or a number.

        Args:
            rank: number of axes that it needs to broadcast to; None leaves its own.
        """
        if not isinstance(argument, fx.Node):
            return self.model.constant(np.float32(argument))
        known = self.traced.tensors.get(argument)
        if known is not None:
            array = known.astype(np.float32) if known.dtype == np.float64 else known
            array = array.reshape((1,) * ((rank or array.ndim) - array.ndim) + array.shape)
            return self.model.constant(array.transpose(LAST) if array.ndim == 4 else array)
        tensor = self.values[argument]
        axes = value_of(argument).dim()
        if rank is None or rank == axes:
            return tensor
        return self.reshaped(tensor, (1,) * (rank - axes) + tuple(value_of(argument).shape))

    def array(self, argument: Any) -> np.ndarray | None:
        """Return the array of a parameter or buffer; None for None."""
        return None if argument is None else self.traced.tensors[argument]

    def reshaped(self, tensor: int, shape: Sequence[int]) -> int:
        """Write a reshape as torch orders numbers: to a shape with channels first."""
        if len(self.model.shape(tensor)) == 4:
            tensor = self.ordered(tensor, FIRST)
        tensor = self.plain_reshape(tensor, shape)
        return self.ordered(tensor, LAST) if len(shape) == 4 else tensor

    def plain_reshape(self, tensor: int, shape: Sequence[int]) -> int:
        """Write a reshape as the file orders numbers."""
        if tuple(shape) == self.model.shape(tensor):
            return tensor
        operands = [tensor, self.model.constant([int(n) for n in shape])]
        return self.model.emit("RESHAPE", operands, shape, "ReshapeOptions", newShape=[*shape])

    def ordered(self, tensor: int, axes: Sequence[int]) -> int:
        """Write a transposition; one that only moves axes of length 1 is a reshape."""
        shape = self.model.shape(tensor)
        target = [shape[axis] for axis in axes]
        long = [axis for axis in axes if shape[axis] > 1]
        if long == sorted(long):
            return self.plain_reshape(tensor, target)
        operands = [tensor, self.model.constant([int(axis) for axis in axes])]
        return self.model.emit("TRANSPOSE", operands, target, "TransposeOptions")

    def unary(self, operator: str, tensor: int, options: str = "", **values: Any) -> int:
        """Write an operator of one value and its shape."""
        return self.model.emit(operator, [tensor], self.model.shape(tensor), options, **values)

    def pair(self, operator: str, first: int, second: int) -> int:
        """Write an operator of two values that broadcast."""
        shape = np.broadcast_shapes(self.model.shape(first), self.model.shape(second))
        tables = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions"}
        tables |= {"DIV": "DivOptions"}
        return self.model.emit(operator, [first, second], shape, tables.get(operator, ""))

    def joined(self, tensors: Sequence[int], axis: int) -> int:
        """Write a concatenation along an axis of the file."""
        if len(tensors) == 1:
            return tensors[0]
        shape = list(self.model.shape(tensors[0]))
        shape[axis] = sum(self.model.shape(tensor)[axis] for tensor in tensors)
        return self.model.emit("CONCATENATION", tensors, shape, "ConcatenationOptions", axis=axis)

    def cut(
        self, tensor: int, starts: Sequence[int], sizes: Sequence[int], grid: Any = None
    ) -> int:
        """Write a slice; starts and sizes for each axis of the file, and the grid of codes."""
        if tuple(sizes) == self.model.shape(tensor):
            return tensor
        operands = [tensor, *(self.model.constant([int(n) for n in ns]) for ns in (starts, sizes))]
        dtype = "int8" if grid else "float32"
        return self.model.emit("SLICE", operands, sizes, "SliceOptions", dtype, grid)

    def narrowed(self, tensor: int, axis: int, start: int, length: int) -> int:
        """Write a slice of one axis of the file."""
        sizes = list(self.model.shape(tensor))
        starts = [start if n == axis else 0 for n in range(len(sizes))]
        sizes[axis] = length
        return self.cut(tensor, starts, sizes)

    def mean(self, tensor: int, axes: Sequence[int], *, keep: bool = True) -> int:
        """Write a mean over axes of the file."""
        shape = [1 if axis in axes else n for axis, n in enumerate(self.model.shape(tensor))]
        operands = [tensor, self.model.constant([int(axis) for axis in axes])]
        tensor = self.model.emit("MEAN", operands, shape, "ReducerOptions", keepDims=True)
        left = [n for axis, n in enumerate(shape) if axis not in axes]
        return tensor if keep else self.plain_reshape(tensor, left)


def in_file(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape of torch as it is in the file."""
    sides = tuple(int(side) for side in shape)
    return tuple(sides[axis] for axis in LAST) if len(sides) == 4 else sides


def axis_in_file(axis: int, rank: int) -> int:
    """Return the place in the file of one of torch's axes."""
    return LAST.index(axis % rank) if rank == 4 else axis % rank


def unknown(node: fx.Node) -> UserError:
    """Return the refusal of an operator, with its name and layer."""
    where = module_path(node) or "forward"
    name = operator_name(node).strip("_")
    return UserError(f"a .tflite file has no {name} as in {where}; take --format onnx")


def is_real(node: fx.Node) -> bool:
    """Return whether a call's value is one tensor of real numbers."""
    value: Any = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()
