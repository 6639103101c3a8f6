"""A quantised ONNX model with float operators in place of its quantisers, for WebGPU.

WebGPU has no 8-bit convolutions. Weights stay int8 in the file. Activations are rounded to the same
codes as in training, but the codes are held in float32, so the image is the student's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

LIMITS = {np.dtype(np.uint8): (0.0, 255.0), np.dtype(np.int8): (-128.0, 127.0)}
"""Type of codes -> least and greatest code."""


def float_codes(content: bytes) -> bytes:
    """Return a model of quantization qdq, in which no activation is an integer.

    A QuantizeLinear becomes clip(round(x / scale) + zero_point), and the DequantizeLinear of an
    activation (code - zero_point) * scale. That of a constant stays: it unpacks weights.

    Args:
        content: a model in which scales and zero points are constants.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    writer = _Writer(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        kind, constant = node.op_type, node.input[0] in writer.constants
        if kind == "QuantizeLinear" and not constant:
            nodes += writer.rounded(node)
        elif kind == "DequantizeLinear" and not constant:
            nodes += writer.scaled(node)
        else:
            nodes.append(node)
    writer.cast_pad_values(nodes)
    used = {name for node in nodes for name in node.input}
    constants = [*writer.constants.values(), *writer.added.values()]
    del model.graph.value_info[:]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensor for tensor in constants if tensor.name in used)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class _Writer:
    """The constants of a model, old and new."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.added: dict[str, onnx.TensorProto] = {}
        known = (*model.graph.value_info, *model.graph.input)
        self.axes = {v.name: len(v.type.tensor_type.shape.dim) for v in known}
        """Value -> its number of axes."""

    def value(self, name: str) -> np.ndarray:
        """Return the value of a constant."""
        return numpy_helper.to_array(self.constants[name])

    def number(self, value: Any, axes: int = 0) -> str:
        """Return the name of a float constant: a number, or one for each index of axis 1."""
        array = np.asarray(value, np.float32)
        array = array.reshape((-1, *(1,) * (axes - 2)) if array.size > 1 else ())
        name = f"float_{len(self.added)}"
        self.added[name] = numpy_helper.from_array(array, name)
        return name

    def rounded(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return nodes for clip(round(x / scale) + zero_point, least, greatest)."""
        scale, zero, axes = self._grid(node)
        steps = [("Div", [self.number(scale, axes)]), ("Round", [])]
        if zero.any():
            steps.append(("Add", [self.number(zero, axes)]))
        least, greatest = LIMITS[zero.dtype]
        steps.append(("Clip", [self.number(least), self.number(greatest)]))
        return _chain(node, steps)

    def scaled(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Return nodes for (code - zero_point) * scale."""
        scale, zero, axes = self._grid(node)
        steps: list[tuple[str, list[str]]] = []
        if zero.any():
            steps.append(("Sub", [self.number(zero, axes)]))
        return _chain(node, [*steps, ("Mul", [self.number(scale, axes)])])

    def _grid(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray, int]:
        """Return scale, zero point, and the number of axes of the value."""
        zero = self.value(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
        return self.value(node.input[1]), zero, self.axes[node.input[0]]

    def cast_pad_values(self, nodes: list[onnx.NodeProto]) -> None:
        """Let pads of codes pad with floats, in place."""
        for node in nodes:
            if node.op_type == "Pad" and len(node.input) > 2 and node.input[2] in self.constants:
                value = self.value(node.input[2])
                if value.dtype in LIMITS:
                    node.input[2] = self.number(value)


def _chain(node: onnx.NodeProto, steps: list[tuple[str, list[str]]]) -> list[onnx.NodeProto]:
    """Return one node after the other, from the first input of `node` to its output."""
    made, source = [], node.input[0]
    for index, (kind, constants) in enumerate(steps, 1):
        last = index == len(steps)
        target = node.output[0] if last else f"{node.output[0]}_{kind.lower()}"
        made.append(helper.make_node(kind, [source, *constants], [target], name=target))
        source = target
    return made
