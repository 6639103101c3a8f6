"""A finished generator as a program for ExecuTorch, with XNNPACK's kernels, at one size."""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from gan_slimming.errors import UserError, one_line
from gan_slimming.export.content import ExportedContent
from gan_slimming.export.expected import Inputs
from gan_slimming.export.one_size import OneSize, checked, metadata_at
from gan_slimming.export.trace.graph import TracedGenerator
from gan_slimming.export.xnnpack.int8 import Int8Convolution
from gan_slimming.export.xnnpack.replay import Replay, int8_step
from gan_slimming.graph.nodes import module_path
from gan_slimming.runtime.executorch import (
    load_program,
    operator_names,
    quiet,
    start_executorch,
)
from gan_slimming.runtime.started import KEY

_NO_COST = ("getitem", "alloc")


def convert_executorch(
    one: OneSize, provenance: Mapping[str, Any] | None, check: bool
) -> ExportedContent:
    """Return the program of a generator, as `convert_at_one_size` does.

    Raises:
        UserError: ExecuTorch lacks an operator, or parity is missed.
    """
    replay = Replay(one.traced).eval()
    metadata = metadata_at(one, replay.float_layers, provenance)
    content, outside = program(replay, one.inputs, metadata)
    parity: dict[str, Any] = {}
    if check:
        alone = partial(_layers_alone, one.traced)
        started = start_executorch(content, 1)
        parity = checked(one, "executorch", started, alone, replay.float_layers)
    return ExportedContent(content, metadata, replay.float_layers, parity, {}, outside=outside)


def program(
    module: nn.Module, inputs: Inputs, metadata: Mapping[str, Any] | None = None
) -> tuple[bytes, list[dict[str, Any]]]:
    """Return a module's program, and the operators in it that XNNPACK leaves to other kernels.

    Returns:
        Content, and for each such operator its name, layer and values: numbers that it writes.
    Raises:
        UserError: an operator has no kernel.
    """
    text = json.dumps(dict(metadata or {})).encode()
    told = {KEY: torch.from_numpy(np.frombuffer(text, np.uint8).copy())} if metadata else None
    with quiet(), torch.no_grad():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        try:
            exported = torch.export.export(module, inputs, strict=False)
            edge = to_edge_transform_and_lower(
                exported, partitioner=[XnnpackPartitioner()], constant_methods=told
            )
            outside = _outside(edge.exported_program(), module)
            check_kernels(outside)
            content = bytes(edge.to_executorch().buffer)
        except UserError:
            raise
        except Exception as error:  # of many types, from torch and ExecuTorch
            raise UserError(
                f"ExecuTorch cannot lower the generator ({one_line(error)[:200]}); take --format "
                "onnx, and please report the generator"
            ) from error
    return content, outside


def _outside(exported: torch.export.ExportedProgram, module: nn.Module) -> list[dict[str, Any]]:
    """Return the operators that stand outside XNNPACK's part of a program."""
    found = []
    for node in exported.graph.nodes:
        name = getattr(node.target, "__name__", str(node.target))
        if node.op != "call_function" or name in _NO_COST or "delegate" in name:
            continue
        value = node.meta.get("val")
        numbers = value.numel() if isinstance(value, Tensor) else 0
        name = name.removeprefix("aten.").split(".")[0]
        found.append({"operator": name, "layer": _layer_of(node, module), "values": int(numbers)})
    return found


def _layer_of(node: Any, module: nn.Module) -> str:
    """Return the path in the generator of the layer that a node comes from; '' if unknown."""
    for path, _ in reversed(list((node.meta.get("nn_module_stack") or {}).values())):
        words = str(path).split(".")
        if isinstance(module, Replay) and "steps" in words[:-1]:
            return module_path(module.nodes[int(words[words.index("steps") + 1])])
    return ""


def check_kernels(outside: list[dict[str, Any]]) -> None:
    """Raise UserError for an operator that the runtime has no kernel for."""
    known = operator_names()
    for row in outside:
        names = {f"{space}::{row['operator']}" for space in ("aten", "dim_order_ops")}
        if not names & known and "::" not in row["operator"]:
            raise UserError(
                f"ExecuTorch has no kernel for {row['operator']} in {row['layer'] or 'forward'}; "
                "take --format onnx"
            )


def _layers_alone(
    traced: TracedGenerator, nodes: Sequence[fx.Node], given: Inputs
) -> list[np.ndarray]:
    """Return the output of each int8 layer, without the pads in front of it, in one program."""
    steps = [
        int8_step(traced, node, traced.layers[module_path(node)], alone=True)[0] for node in nodes
    ]
    content, _ = program(_Separate(steps), given)
    return load_program(content, 1).run(*(x.numpy() for x in given))


class _Separate(nn.Module):
    """Layers side by side, each with an input and an output of its own."""

    def __init__(self, steps: list[Int8Convolution]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return each layer's output."""
        return tuple(step(value) for step, value in zip(self.steps, values, strict=True))
