"""A finished generator as an ONNX model for images of any size."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import onnx
from onnx import TensorProto, helper
from torch import fx

from gan_slimming.errors import UserError
from gan_slimming.export import four_bits
from gan_slimming.export.emitter import Emitter, Quantization, file_widths
from gan_slimming.export.operators.table import write_node
from gan_slimming.export.trace.graph import TracedGenerator
from gan_slimming.export.trace.tracing import sides_of
from gan_slimming.graph.nodes import value_of
from gan_slimming.runtime.started import KEY

OPSETS = range(17, 22)
"""ONNX opsets that current ONNX Runtime and OpenVINO accept."""
_IR_VERSION = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10}


def onnx_model(
    traced: TracedGenerator,
    quantization: Quantization,
    opset: int,
    metadata: Mapping[str, Any],
    *,
    noise: bool = True,
) -> tuple[onnx.ModelProto, list[str]]:
    """Return the whole generator as a checked ONNX model.

    Args:
        traced: from `graph.trace`.
        quantization: qdq, integer or none.
        opset: one of OPSETS.
        metadata: entries for the file, stored as JSON.
        noise: draw the forward's random numbers; False for zeros in their place.
    Returns:
        The model, and quantised layers that it can only compute in float.
    Raises:
        UserError: an operator has no counterpart, or the opset is another.
    """
    if opset not in OPSETS:
        raise UserError(f"opset must be {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    emitter = Emitter(traced, quantization, opset=opset)
    emitter.noise = noise
    for node in traced.nodes:
        emitter.names[node] = write_node(emitter, node)
    model = _assemble(emitter, traced.result, opset)
    if opset >= four_bits.OPSET:
        four_bits.store_in_four_bits(model)
    helper.set_model_props(model, {KEY: json.dumps(dict(metadata))})
    onnx.checker.check_model(model, full_check=True)
    return model, emitter.float_layers


def layer_model(
    traced: TracedGenerator, node: fx.Node, quantization: Quantization, opset: int
) -> onnx.ModelProto:
    """Return one call of the generator as a model, whose input is the call's padded input."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    tensors = {other: value for other, value in traced.tensors.items() if other is not source}
    alone = dataclasses.replace(
        traced,
        tensors=tensors,
        sources={"input": source},
        result=node,
        redundant_biases=frozenset(),
    )
    widths = file_widths(traced, quantization)  # as in the whole file
    emitter = Emitter(alone, quantization, widths, opset)
    if more := emitter.widths.get(source, 0):
        last = [0, more - value_of(source).shape[1]] + [0] * (value_of(source).dim() - 2)
        pads = emitter.integers([0] * len(last) + last)
        emitter.names[source] = emitter.emit("Pad", ["input", pads])
    output = write_node(emitter, node)
    if node in emitter.widths:
        zero, end = emitter.integers([0]), emitter.integers([value_of(node).shape[1]])
        output = emitter.emit("Slice", [output, zero, end, emitter.integers([1])])
    emitter.names[node] = output
    return _assemble(emitter, node, opset)


def _assemble(emitter: Emitter, result: fx.Node, opset: int) -> onnx.ModelProto:
    """Return a model of the nodes behind the result, with dynamic batch, height and width."""
    name = emitter.names[result]
    nodes, constants = emitter.needed(name)
    nodes.append(helper.make_node("Identity", [name], ["output"], name="output"))
    inputs = [_tensor(label, source) for label, source in emitter.traced.sources.items()]
    graph = helper.make_graph(
        nodes, "generator", inputs, [_tensor("output", result, "_out")], constants
    )
    return helper.make_model(
        graph,
        producer_name="gan-slimming",
        ir_version=_IR_VERSION[opset],
        opset_imports=[helper.make_opsetid("", opset)],
    )


def _tensor(label: str, node: fx.Node, suffix: str = "") -> onnx.ValueInfoProto:
    """Describe an input or output, whose features may be fixed; all other axes are free.

    An output's free axes have names of their own.
    """
    value, sides = value_of(node), sides_of(node)
    names = ("height", "width") if value.dim() == 4 else [f"axis_{n}" for n in range(2, 9)]
    names = ["features", *names][: max(0, value.dim() - 1)]
    axes = [s.first if s.fixed else name + suffix for s, name in zip(sides[1:], names, strict=True)]
    kind = TensorProto.FLOAT if value.is_floating_point() else TensorProto.INT64
    shape = [sides[0].first if sides[0].fixed else "batch", *axes][: value.dim()]
    return helper.make_tensor_value_info(label, kind, shape)
