"""The ONNX graph while it is written: nodes, constants, and the name of every traced value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import SymFloat, SymInt, fx

from gan_slimming.export.kernels.widening import LANES, widths_of
from gan_slimming.export.kernels.windows import OUTPUTS_AT_ONCE
from gan_slimming.export.sizes import write_number
from gan_slimming.export.trace.graph import TracedGenerator
from gan_slimming.export.trace.tracing import expression, sides_of
from gan_slimming.graph.nodes import value_of

Quantization = Literal["qdq", "integer", "none"]
"""float: no quantisers. qdq: quantise and dequantise in front of convolutions, which OpenVINO runs
in int8. integer: ConvInteger and a scale per channel, or QLinearConv where the student rounds what
the layer gives; ONNX Runtime runs both in int8."""


NUMPY_KINDS = {torch.float32: np.float32, torch.int64: np.int64, torch.bool: np.bool_}
ONNX_KINDS = {
    torch.float32: TensorProto.FLOAT, torch.int64: TensorProto.INT64, torch.bool: TensorProto.BOOL,
}  # fmt: skip
"""The types of numbers that a file has."""


def kind_of(dtype: torch.dtype) -> torch.dtype:
    """Which of them stands for one of torch's."""
    if dtype == torch.bool:
        return dtype
    return torch.float32 if dtype.is_floating_point else torch.int64


def file_widths(traced: TracedGenerator, quantization: Quantization) -> dict[fx.Node, int]:
    """Return values that get more channels, because the runtime takes so many at once."""
    if quantization == "integer":
        return widths_of(traced, OUTPUTS_AT_ONCE, on_bytes=True)
    return widths_of(traced, LANES) if quantization == "qdq" else {}


END = 2**31 - 1
"""Behind the end of every axis."""


class Emitter:
    """Collects the ONNX counterpart of a traced generator.

    Args:
        traced: what is written.
        quantization: how quantised layers are written.
        widths: channels of the values that have more in the file than in torch; None finds them.
        opset: what the file is written for.
    """

    def __init__(
        self, traced: TracedGenerator, quantization: Quantization,
        widths: dict[fx.Node, int] | None = None,
        opset: int = 17,
    ) -> None:  # fmt: skip
        self.traced = traced
        self.quantization: Quantization = quantization
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.makers: dict[str, onnx.NodeProto] = {}
        self.constants: dict[str, onnx.TensorProto] = {}
        self.names: dict[fx.Node, str] = {node: name for name, node in traced.sources.items()}
        self.float_layers: list[str] = []
        self.shuffled: dict[str, tuple[str, dict[str, Any]]] = {}
        self.outputs: dict[fx.Node, list[str]] = {}
        self.widths = widths if widths is not None else file_widths(traced, quantization)
        self.numbers: dict[Any, str] = {}
        self._shapes: dict[str, str] = {}
        self._known: dict[tuple[Any, ...], str] = {}
        self._count = 0

    def emit(self, operator: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """One node with one output; an empty name in `inputs` is an input left out.

        Returns:
            The name of its output.
        """
        output = self._unique(name or operator)
        node = helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        self.nodes.append(node)
        self.makers[output] = node
        return output

    def _unique(self, name: str) -> str:
        """A name that nothing has yet: a user's layer may be called as a constant of ours is."""
        self._count += 1
        return f"{name}_{self._count}"

    def shuffle(self, name: str, factor: int, mode: str) -> str:
        """Depth to space. A quantiser behind it may take the value before, and shuffle bytes."""
        how = {"blocksize": factor, "mode": mode}
        output = self.emit("DepthToSpace", [name], **how)
        self.shuffled[output] = (name, how)
        return output

    def shuffle_bytes(self, name: str, blocksize: int, mode: str, channels: int) -> str:
        """The same of `channels` planes of codes, for ONNX Runtime: it moves them one by one in
        DepthToSpace, but by vectors of channels where rows and columns change places. Its
        convolutions of bytes have the channels last anyway.
        """
        if mode != "DCR":
            return self.emit("DepthToSpace", [name], blocksize=blocksize, mode=mode)
        shape = self.sizes([0, -1, self.width_times(name, blocksize), channels // blocksize**2])
        name = self.emit("Transpose", [name], perm=[0, 2, 3, 1])
        name = self.emit("Reshape", [name, self.integers([0, 0, 0, blocksize, -1])])
        name = self.emit("Transpose", [name], perm=[0, 1, 3, 2, 4])
        name = self.emit("Reshape", [name, shape])
        return self.emit("Transpose", [name], perm=[0, 3, 1, 2])

    def width_times(self, name: str, factor: int) -> str:
        """The width of an image's planes times a number, as an int64 tensor of one number."""
        width = self.emit("Gather", [self.shape_of(name), self.integers([3])])
        return self.emit("Mul", [width, self.integers([factor])])

    def constant(self, value: np.ndarray, name: str = "constant", use: str = "") -> str:
        """An initialiser; equal ones of one use are stored once.

        Args:
            use: the operator, where it must not share: OpenVINO computes nonsense with one weight
                for a convolution and for a transposed one.
        Returns:
            Its name.
        """
        value = np.ascontiguousarray(value) if value.ndim else value
        key = (value.dtype.str, value.shape, value.tobytes(), use)
        if key not in self._known:
            unique = self._known[key] = self._unique(name)
            self.constants[unique] = numpy_helper.from_array(value, unique)
        return self._known[key]

    def scalar(self, value: float, dtype: torch.dtype = torch.float32) -> str:
        """A constant without axes."""
        return self.constant(np.array(value, NUMPY_KINDS[kind_of(dtype)]))

    def integers(self, values: Sequence[int]) -> str:
        """An int64 constant of one axis, as shapes and pads are given."""
        return self.constant(np.array(values, np.int64), "shape")

    def shape_of(self, name: str) -> str:
        """The shape of a value, read in the file."""
        if name not in self._shapes:
            self._shapes[name] = self.emit("Shape", [name])
        return self._shapes[name]

    def side(self, node: object, axis: int) -> str:
        """The length of one axis of a call's value, as an int64 tensor of one number."""
        assert isinstance(node, fx.Node)
        side = sides_of(node)[axis]
        if side.fixed:
            return self.integers([side.first])
        return self.emit("Gather", [self.shape_of(self.value(node)), self.integers([axis])])

    def size(self, number: int | SymInt) -> str:
        """A number that is fixed or follows the input's size, as an int64 tensor of one number."""
        return self.integers([number]) if isinstance(number, int) else self._follow(number)

    def sizes(self, numbers: Sequence[int | SymInt | str]) -> str:
        """Several of them as one tensor; names stand for themselves."""
        if all(isinstance(number, int) for number in numbers):
            return self.integers([int(number) for number in numbers])
        parts = [n if isinstance(n, str) else self.size(n) for n in numbers]
        return self.emit("Concat", parts, axis=0) if len(parts) > 1 else parts[0]

    def slice(self, name: str, axis: int, start: Any, end: Any, step: int = 1) -> str:
        """Write a slice of one axis; start and end are numbers, symbols, or names of tensors."""
        ranges = [self.sizes([number]) for number in (start, end, axis, step)]
        return self.emit("Slice", [name, *ranges])

    def _follow(self, number: SymInt | SymFloat) -> str:
        """A tensor of one number, computed from the sides of the inputs."""
        for node in self.traced.sources.values():
            for axis, side in enumerate(sides_of(node)):
                if side.symbol is not None and expression(side.symbol) not in self.numbers:
                    self.numbers[expression(side.symbol)] = self.side(node, axis)
        return write_number(self, expression(number))

    def value(self, argument: Any, dtype: torch.dtype | None = None) -> str:
        """The name of an argument of a call: a value already written, a constant, or a number.

        Args:
            dtype: the type that it is wanted in; without one, numbers become float32.
        """
        if isinstance(argument, SymInt | SymFloat):
            own = torch.int64 if isinstance(argument, SymInt) else torch.float32
            name = self.emit("Squeeze", [self._follow(argument)])
            return self.cast(name, own, dtype or torch.float32)
        if not isinstance(argument, fx.Node):
            return self.scalar(argument, dtype or torch.float32)
        if argument in self.traced.tensors:
            name = self.constant(self.traced.tensors[argument], argument.name)
        else:
            name = self.names[argument]
        return name if dtype is None else self.cast(name, value_of(argument).dtype, dtype)

    def cast(self, name: str, source: torch.dtype, target: torch.dtype) -> str:
        """A value in another type; the file has one type each for real and whole numbers."""
        if kind_of(source) == kind_of(target):
            return name
        return self.emit("Cast", [name], to=ONNX_KINDS[kind_of(target)])

    def array(self, argument: Any) -> np.ndarray | None:
        """The numbers of an argument that is a parameter or buffer; None for None."""
        return None if argument is None else self.traced.tensors[argument]

    def needed(self, output: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """Nodes and constants that the output depends on, in order."""
        wanted, kept = {output}, []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(node.input)
        return kept[::-1], [t for name, t in self.constants.items() if name in wanted]
