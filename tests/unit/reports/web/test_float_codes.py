"""Float codes: the same image as integers give, without an integer among the activations."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from gan_slimming.export.convert import convert
from gan_slimming.reports.web.float_codes import float_codes
from gan_slimming.runtime.sessions import start_onnxruntime


def model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> bytes:
    """A model of one input x (1, 2, 2, 3) and one output y."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2, "h", 3]) for n in "xy"]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


@pytest.mark.parametrize("zero", [np.uint8(0), np.uint8(128), np.int8(0), np.int8(-5)])
@pytest.mark.parametrize("channels", [False, True])
def test_codes_are_those_of_integers(zero: np.generic, channels: bool) -> None:
    scale = np.array([0.5, 0.25], np.float32) if channels else np.float32(0.25)
    zeros = np.full_like(np.asarray(scale), zero, dtype=zero.dtype)
    names = ["scale", "zero"]
    content = model(
        [
            helper.make_node("QuantizeLinear", ["x", *names], ["codes"], axis=1),
            helper.make_node("Pad", ["codes", "pads", "pad"], ["padded"]),
            helper.make_node("DequantizeLinear", ["padded", *names], ["y"], axis=1),
        ],
        {
            "scale": np.asarray(scale), "zero": zeros, "pad": np.asarray(zero),
            "pads": np.array([0, 0, 1, 0, 0, 0, 1, 0], np.int64),
        },
    )  # fmt: skip
    halves = np.linspace(-40, 40, 12).reshape(1, 2, 2, 3)
    x = np.round(halves * 8).astype(np.float32) / 8  # many lie between two codes
    changed = float_codes(content)
    expected, made = (start_onnxruntime(c, 1).run(x) for c in (content, changed))
    np.testing.assert_array_equal(made, expected)
    kinds = {node.op_type for node in onnx.load_from_string(changed).graph.node}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear"}


def test_weights_stay_small(student: nn.Module) -> None:
    content = convert(student, quantization="qdq", runtimes=()).content
    changed = float_codes(content)
    graph = onnx.load_from_string(changed).graph
    assert "QuantizeLinear" not in {node.op_type for node in graph.node}
    constants = {tensor.name for tensor in graph.initializer}
    kept = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    assert kept
    assert all(node.input[0] in constants for node in kept)
    read = {name for node in graph.node for name in node.input}
    assert constants <= read
    assert len(changed) < len(content) + 150 * len(graph.node)
