"""The ONNX graph under construction: its nodes, constants and names of traced values."""

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
"""none: no quantisers. qdq: QuantizeLinear and DequantizeLinear in front of convolutions, which
OpenVINO runs in int8. integer: ConvInteger and a scale per channel, or QLinearConv where the
student rounds the layer's output; ONNX Runtime runs both in int8."""


NUMPY_KINDS = {torch.float32: np.float32, torch.int64: np.int64, torch.bool: np.bool_}
ONNX_KINDS = {
    torch.float32: TensorProto.FLOAT, torch.int64: TensorProto.INT64, torch.bool: TensorProto.BOOL,
}  # fmt: skip
"""The number types of a file."""


def kind_of(dtype: torch.dtype) -> torch.dtype:
    """Return the file's number type for a torch dtype."""
    if dtype == torch.bool:
        return dtype
    return torch.float32 if dtype.is_floating_point else torch.int64


def file_widths(traced: TracedGenerator, quantization: Quantization) -> dict[fx.Node, int]:
    """Return value -> channels, for values widened to the number that the runtime takes at once."""
    if quantization == "integer":
        return widths_of(traced, OUTPUTS_AT_ONCE, on_bytes=True)
    return widths_of(traced, LANES) if quantization == "qdq" else {}


END = 2**31 - 1
"""A slice end beyond the end of every axis."""


class Emitter:
    """A writer of the ONNX counterpart of a traced generator.

    Args:
        traced: the generator to write.
        quantization: the form of quantised layers.
        widths: channels of the values that have more in the file than in torch; None computes them.
        opset: ONNX opset of the file.
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
        self.complex_parts: dict[fx.Node, tuple[str, str]] = {}
        self.widths = widths if widths is not None else file_widths(traced, quantization)
        self.numbers: dict[Any, str] = {}
        self._shapes: dict[str, str] = {}
        self._known: dict[tuple[Any, ...], str] = {}
        self.noise = True
        self._count = 0

    def emit(self, operator: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """Write one node with one output; an empty name in `inputs` leaves that input out.

        Returns:
            The name of its output.
        """
        output = self._unique(name or operator)
        node = helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        self.nodes.append(node)
        self.makers[output] = node
        return output

    def _unique(self, name: str) -> str:
        """Return an unused name, because a user's layer may be called like one of our constants."""
        self._count += 1
        return f"{name}_{self._count}"

    def shuffle(self, name: str, factor: int, mode: str) -> str:
        """Write a depth-to-space, and remember it: a quantiser behind may move in front of it."""
        how = {"blocksize": factor, "mode": mode}
        output = self.emit("DepthToSpace", [name], **how)
        self.shuffled[output] = (name, how)
        return output

    def shuffle_bytes(self, name: str, blocksize: int, mode: str, channels: int) -> str:
        """Write a depth-to-space of `channels` planes of codes in ONNX Runtime's fastest form.

        DepthToSpace moves planes one by one there; a Transpose moves vectors of channels. The
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
        """Write the width of an image times a factor, as an int64 tensor of one number."""
        width = self.emit("Gather", [self.shape_of(name), self.integers([3])])
        return self.emit("Mul", [width, self.integers([factor])])

    def constant(self, value: np.ndarray, name: str = "constant", use: str = "") -> str:
        """Write an initialiser; equal ones of one use are stored once.

        Args:
            use: the operator, where sharing is wrong: OpenVINO computes nonsense if a convolution
                and a transposed convolution share a weight.
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
        """Write a constant without axes."""
        return self.constant(np.array(value, NUMPY_KINDS[kind_of(dtype)]))

    def integers(self, values: Sequence[int]) -> str:
        """Write an int64 constant with one axis, as for shapes and pads."""
        return self.constant(np.array(values, np.int64), "shape")

    def shape_of(self, name: str) -> str:
        """Write the shape of a value, computed in the file."""
        if name not in self._shapes:
            self._shapes[name] = self.emit("Shape", [name])
        return self._shapes[name]

    def side(self, node: object, axis: int) -> str:
        """Write the length of one axis of a call's value, as an int64 tensor of one number."""
        assert isinstance(node, fx.Node)
        side = sides_of(node)[axis]
        if side.fixed:
            return self.integers([side.first])
        return self.emit("Gather", [self.shape_of(self.value(node)), self.integers([axis])])

    def size(self, number: int | SymInt) -> str:
        """Write a fixed or size-dependent number as an int64 tensor of one number."""
        return self.integers([number]) if isinstance(number, int) else self._follow(number)

    def sizes(self, numbers: Sequence[int | SymInt | str]) -> str:
        """Write several numbers as one int64 tensor; strings are names of tensors."""
        if all(isinstance(number, int) for number in numbers):
            return self.integers([int(number) for number in numbers])
        tensors = [n if isinstance(n, str) else self.size(n) for n in numbers]
        return self.emit("Concat", tensors, axis=0) if len(tensors) > 1 else tensors[0]

    def slice(self, name: str, axis: int, start: Any, end: Any, step: int = 1) -> str:
        """Write a slice of one axis; start and end are numbers, symbols, or names of tensors."""
        ranges = [self.sizes([number]) for number in (start, end, axis, step)]
        return self.emit("Slice", [name, *ranges])

    def _follow(self, number: SymInt | SymFloat) -> str:
        """Compute a number from the sides of the inputs, as a tensor of one number."""
        for node in self.traced.sources.values():
            for axis, side in enumerate(sides_of(node)):
                if side.symbol is not None and expression(side.symbol) not in self.numbers:
                    self.numbers[expression(side.symbol)] = self.side(node, axis)
        return write_number(self, expression(number))

    def value(self, argument: Any, dtype: torch.dtype | None = None) -> str:
        """Return the name of a call's argument: a value written before, a constant or a number.

        Args:
            dtype: the type to cast to; without one, numbers become float32.
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
        """Cast a value; the file has one type for real numbers and one for integers."""
        if kind_of(source) == kind_of(target):
            return name
        return self.emit("Cast", [name], to=ONNX_KINDS[kind_of(target)])

    def array(self, argument: Any) -> np.ndarray | None:
        """Return the array of a parameter or buffer; None for None."""
        return None if argument is None else self.traced.tensors[argument]

    def needed(self, output: str) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """Return the nodes and constants that the output depends on, in order."""
        wanted, kept = {output}, []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(node.input)
        return kept[::-1], [t for name, t in self.constants.items() if name in wanted]
