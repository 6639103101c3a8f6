"""A finished generator as a program for ExecuTorch, with XNNPACK's kernels, at one size."""

# pyright: reportMissingImports=false

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.errors import UserError, one_line
from gan_slimming.export.content import (
    FLOAT,
    ExportedContent,
    metadata_of,
    with_macs,
    with_version,
)
from gan_slimming.export.expected import (
    FLOAT_TOLERANCE,
    LAYER_TOLERANCE,
    Inputs,
    expected_of,
    layer_inputs,
    off_the_borders,
    range_of,
)
from gan_slimming.export.trace.dequantized import without_quantizers
from gan_slimming.export.trace.graph import TracedGenerator, trace
from gan_slimming.export.trace.integers import is_quantized, quantized_layers
from gan_slimming.export.xnnpack.int8 import Int8Convolution, is_int8
from gan_slimming.export.xnnpack.replay import Replay, int8_step
from gan_slimming.graph.nodes import module_path
from gan_slimming.models.registry import infer_spec
from gan_slimming.runtime.executorch import (
    load_program,
    operator_names,
    quiet,
    start_executorch,
)
from gan_slimming.runtime.flips import nudged, only_flips
from gan_slimming.runtime.sessions import require
from gan_slimming.runtime.started import KEY

RUNTIME = "executorch"
_NO_COST = ("getitem", "alloc")


def convert_executorch(
    module: nn.Module,
    *,
    quantization: str | None = None,
    size: int,
    provenance: Mapping[str, Any] | None = None,
    check: bool = True,
) -> ExportedContent:
    """Return the program of a generator for images of one size, after checking its parity.

    Args:
        quantization: qdq for int8, none for float; None takes qdq for a quantised generator.
        size: height and width in pixels of the images.
        provenance: entries for the file's metadata.
    Raises:
        UserError: ExecuTorch is not installed or lacks an operator, or parity is missed.
    """
    require(RUNTIME)
    quantized = is_quantized(module) and quantization != "none"
    if quantization == "qdq" and not quantized:
        raise UserError("the generator has no quantised layers for --quantization qdq; take none")
    spec = infer_spec(module)
    module = module.to("cpu", torch.float32).eval()
    side = spec.contract.next_side(size)
    contract = spec.contract
    if not contract.latent_size:
        contract = dataclasses.replace(contract, size=side)
    traced = trace(module, contract, side, quantized=quantized, batch=1)
    if traced.noisy:
        raise UserError(
            "the generator draws noise, which a .pte file cannot; take --fix-noise when "
            "compressing, or --format onnx"
        )
    replay = Replay(traced).eval()
    form = "qdq" if quantized else FLOAT
    metadata = metadata_of(contract, form, str(spec), with_version(provenance or {}))
    metadata = with_macs(metadata, module, contract, side)
    in_float = set(replay.float_layers)
    metadata |= {
        "quantized_layers": len(traced.layers),
        "int8_layers": [path for path in traced.layers if path not in in_float],
        "float_layers": replay.float_layers,
    }
    content, outside = program(replay, dummy_inputs(contract, side), metadata)
    parity: dict[str, Any] = {}
    if check:
        parity = _parity(module, traced, content, contract, side, quantized)
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


def _parity(
    module: nn.Module, traced: TracedGenerator, content: bytes, contract: InputContract, side: int,
    quantized: bool,
) -> dict[str, Any]:  # fmt: skip
    """Return the greatest difference of a layer in int8, and of the image.

    Raises:
        UserError: it exceeds what rounding explains.
    """
    inputs = dummy_inputs(contract, side)
    with torch.no_grad():
        plain = module if quantized else without_quantizers(module)
        expected = plain(*inputs).numpy()
        made = start_executorch(content, 1).run(*(x.numpy() for x in inputs))
        apart = np.abs(made - expected)
        if not quantized:
            error = float(apart.max())
            if not error <= FLOAT_TOLERANCE * max(1.0, float(np.abs(expected).max())):
                raise _missed("the float file's image", error)
            return {RUNTIME: {"error": error}}
        worst = check_layers(module, traced, inputs)
        first, *rest = inputs
        moved = module(torch.from_numpy(nudged(first.numpy())), *rest).numpy()
    image = float(apart.mean()) / max(float(expected.std()), float(np.finfo(np.float32).tiny))
    if not only_flips(made, expected, moved):
        raise _missed("the int8 file's image", image)
    return {RUNTIME: {**worst, "image": image}}


def check_layers(module: nn.Module, traced: TracedGenerator, inputs: Inputs) -> dict[str, Any]:
    """Return the worst int8 layer, its difference over its range, and the share of ties.

    All layers run alone, in one program, each on its own input in the student.

    Raises:
        UserError: a layer differs by more than LAYER_TOLERANCE.
    """
    seen, layers = layer_inputs(module, inputs), quantized_layers(module)
    nodes = {module_path(n): n for n in reversed(traced.nodes)}
    rows, steps, given = [], [], []
    for path, layer in traced.layers.items():
        if path not in seen or path not in nodes:
            continue
        step = _alone(traced, nodes[path])
        if step is None or layer.inputs is None:
            continue
        values, ties = off_the_borders(seen[path], layer.inputs)
        rows.append((path, *expected_of(layers[path], values, layer.outputs), ties))
        steps.append(step)
        given.append(values)
    if not rows:
        return {}
    content, _ = program(_Separate(steps), tuple(given))
    made = load_program(content, 1).run(*(x.numpy() for x in given))
    worst: dict[str, Any] = {"layer": "", "error": -1.0, "ties": 0.0, "left_out": 0.0}
    for (path, expected, sure, ties), result in zip(rows, made, strict=True):
        difference = np.abs(result - expected).max(initial=0, where=sure)
        error = float(difference) / range_of(expected)
        if not error <= worst["error"]:
            left_out = 1 - float(sure.mean())
            worst = {"layer": path, "error": error, "ties": ties, "left_out": left_out}
    if not worst["error"] <= LAYER_TOLERANCE:
        raise _missed(f"the int8 layer {worst['layer']}", worst["error"])
    return worst


def _alone(traced: TracedGenerator, node: Any) -> Int8Convolution | None:
    """Return a layer in int8 without the pads in front of it; None where it is not in int8."""
    layer = traced.layers[module_path(node)]
    if not is_int8(node, layer):
        return None
    return int8_step(traced, node, layer, alone=True)[0]


def _missed(what: str, error: float) -> UserError:
    return UserError(
        f"{what} differs from torch by {error:.2g} of its range in ExecuTorch; nothing is "
        "written. Take --format onnx, and please report the generator"
    )


class _Separate(nn.Module):
    """Layers side by side, each with an input and an output of its own."""

    def __init__(self, steps: list[Int8Convolution]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return each layer's output."""
        return tuple(step(value) for step, value in zip(self.steps, values, strict=True))
