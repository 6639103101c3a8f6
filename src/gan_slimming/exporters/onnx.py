"""A finished generator as an ONNX model that any size of picture goes through."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import onnx
from onnx import TensorProto, helper
from torch import fx

from gan_slimming.config import InputContract, UserError
from gan_slimming.exporters.emitter import Emitter, Form
from gan_slimming.exporters.graph import TracedGenerator
from gan_slimming.exporters.operators import write_node
from gan_slimming.pruning.nodes import value_of
from gan_slimming.runtimes import KEY

OPSETS = range(17, 22)
"""Those that current ONNX Runtime and OpenVINO take."""
_IR_VERSION = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10}


def onnx_model(
    traced: TracedGenerator, form: Form, opset: int, metadata: Mapping[str, Any]
) -> tuple[onnx.ModelProto, list[str]]:
    """The whole generator.

    Args:
        traced: from `graph.trace`.
        form: float, qdq or integer.
        opset: one of OPSETS.
        metadata: JSON for the file.
    Returns:
        The checked model, and quantised layers that it can only compute in float.
    Raises:
        UserError: an operator without a counterpart, or another opset.
    """
    if opset not in OPSETS:
        raise UserError(f"opset must be {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    emitter = Emitter(traced, form)
    for node in traced.nodes:
        emitter.names[node] = write_node(emitter, node)
    model = _assemble(emitter, traced.result, opset)
    helper.set_model_props(model, {KEY: json.dumps(dict(metadata))})
    onnx.checker.check_model(model, full_check=True)
    return model, emitter.float_layers


def layer_model(traced: TracedGenerator, node: fx.Node, form: Form, opset: int) -> onnx.ModelProto:
    """One call of the generator, its padded input as the model's input."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    alone = dataclasses.replace(traced, source=source, result=node, lost=frozenset())
    emitter = Emitter(alone, form)
    emitter.names[node] = write_node(emitter, node)
    return _assemble(emitter, node, opset)


def metadata_of(
    contract: InputContract, form: Form, generator: str, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """What translate and benchmark need, so that the file is enough for them."""
    return {
        "format": 1,
        "form": form,
        "generator": generator,
        "contract": dataclasses.asdict(contract),
        "provenance": dict(provenance),
    }


def _assemble(emitter: Emitter, result: fx.Node, opset: int) -> onnx.ModelProto:
    """Nodes that the result depends on, as a model of dynamic batch, height and width."""
    name = emitter.names[result]
    nodes, constants = emitter.needed(name)
    nodes.append(helper.make_node("Identity", [name], ["output"], name="output"))
    sides = [
        helper.make_tensor_value_info(label, TensorProto.FLOAT, _shape(node, label))
        for label, node in (("input", emitter.traced.source), ("output", result))
    ]
    graph = helper.make_graph(nodes, "generator", sides[:1], sides[1:], constants)
    return helper.make_model(
        graph,
        producer_name="gan-slimming",
        ir_version=_IR_VERSION[opset],
        opset_imports=[helper.make_opsetid("", opset)],
    )


def _shape(node: fx.Node, label: str) -> list[int | str]:
    """Channels are fixed, everything else is free; the output's sides have names of their own."""
    shape = value_of(node).shape
    names = ("height", "width") if len(shape) == 4 else [f"axis_{n}" for n in range(2, len(shape))]
    suffix = "" if label == "input" else "_out"
    return ["batch", shape[1], *(name + suffix for name in names)]
