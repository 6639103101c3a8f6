"""The ONNX graph while it is written: nodes, constants, and the name of every traced value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import fx

from gan_slimming.exporters.graph import TracedGenerator
from gan_slimming.exporters.widening import widths_of

Form = Literal["float", "qdq", "integer"]
"""float: no quantisers. qdq: quantise and dequantise in front of convolutions, which OpenVINO runs
in int8. integer: ConvInteger and a scale per channel, which ONNX Runtime runs in int8."""


def file_widths(traced: TracedGenerator, form: Form) -> dict[fx.Node, int]:
    """Values that a form gives more channels: only OpenVINO gains by it."""
    return widths_of(traced) if form == "qdq" else {}


class Emitter:
    """Collects the ONNX counterpart of a traced generator.

    Args:
        traced: what is written.
        form: how quantised layers are written.
        widths: channels of the values that have more in the file than in torch; None finds them.
    """

    def __init__(
        self, traced: TracedGenerator, form: Form, widths: dict[fx.Node, int] | None = None
    ) -> None:
        self.traced = traced
        self.form: Form = form
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.names: dict[fx.Node, str] = {node: name for name, node in traced.sources.items()}
        self.float_layers: list[str] = []
        self.shuffled: dict[str, tuple[str, dict[str, Any]]] = {}
        self.widths = widths if widths is not None else file_widths(traced, form)
        self._known: dict[tuple[Any, ...], str] = {}
        self._count = 0

    def emit(self, operator: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """One node with one output; an empty name in `inputs` is an input left out.

        Returns:
            The name of its output.
        """
        self._count += 1
        output = f"{name or operator}_{self._count}"
        node = helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def shuffle(self, name: str, factor: int, mode: str) -> str:
        """Depth to space. A quantiser behind it may take the value before, and shuffle bytes."""
        how = {"blocksize": factor, "mode": mode}
        output = self.emit("DepthToSpace", [name], **how)
        self.shuffled[output] = (name, how)
        return output

    def shuffle_bytes(self, name: str, blocksize: int, mode: str, channels: int) -> str:
        """The same of `channels` planes of codes, for ONNX Runtime: it moves them one by one in
        DepthToSpace, but by vectors where two axes change places.
        """
        if mode != "DCR":
            return self.emit("DepthToSpace", [name], blocksize=blocksize, mode=mode)
        out, shape = channels // blocksize**2, self.emit("Shape", [name])
        width = self.emit("Gather", [shape, self.integers([3])])
        width = self.emit("Mul", [width, self.integers([blocksize])])

        def ending(head: list[int]) -> str:
            return self.emit("Concat", [self.integers(head), width], axis=0)

        name = self.emit("Reshape", [name, self.integers([0, blocksize, blocksize, -1])])
        name = self.emit("Transpose", [name], perm=[0, 1, 3, 2])
        name = self.emit("Reshape", [name, ending([0, blocksize, -1])])
        name = self.emit("Transpose", [name], perm=[0, 2, 1, 3])
        return self.emit("Reshape", [name, ending([0, out, -1])])

    def constant(self, value: np.ndarray, name: str = "constant") -> str:
        """An initialiser; equal ones are stored once.

        Returns:
            Its name.
        """
        value = np.ascontiguousarray(value) if value.ndim else value
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._known:
            unique = f"{name}_{len(self.constants)}"
            self._known[key] = unique
            self.constants[unique] = numpy_helper.from_array(value, unique)
        return self._known[key]

    def scalar(self, value: float) -> str:
        """A float32 constant without axes."""
        return self.constant(np.array(value, np.float32))

    def integers(self, values: Sequence[int]) -> str:
        """An int64 constant of one axis, as shapes and pads are given."""
        return self.constant(np.array(values, np.int64), "shape")

    def value(self, argument: Any) -> str:
        """The name of an argument of a call: a value already written, a parameter, or a number."""
        if not isinstance(argument, fx.Node):
            return self.scalar(float(argument))
        if argument in self.traced.tensors:
            return self.constant(self.traced.tensors[argument], argument.name)
        return self.names[argument]

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
