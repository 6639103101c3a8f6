"""A generator at one size, for formats that have no other: its trace, metadata and parity."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.errors import UserError
from gan_slimming.export.content import FLOAT, metadata_of, with_macs, with_version
from gan_slimming.export.expected import (
    FLOAT_TOLERANCE,
    LAYER_TOLERANCE,
    Inputs,
    expected_of,
    layer_inputs,
    off_the_borders,
    padded_input,
    range_of,
)
from gan_slimming.export.trace.dequantized import without_quantizers
from gan_slimming.export.trace.graph import TracedGenerator, trace
from gan_slimming.export.trace.integers import is_quantized, quantized_layers
from gan_slimming.graph.nodes import module_path, operator_name
from gan_slimming.models.registry import infer_spec
from gan_slimming.runtime.flips import nudged, only_flips
from gan_slimming.runtime.started import Started

NAMES = {"executorch": "ExecuTorch", "litert": "LiteRT", "coreml": "Core ML"}
"""Format, most with a runtime of the same name -> its name in texts."""
SUFFIXES = {"executorch": ".pte", "litert": ".tflite", "coreml": ".mlpackage"}
"""Format -> the ending of its file."""
Layers = Callable[[Sequence[fx.Node], Inputs], Sequence[np.ndarray]]
"""(calls of int8 layers, the input of each) -> the output of each, alone, in the runtime."""


@dataclass(frozen=True)
class OneSize:
    """A generator traced at one size, with all numbers fixed."""

    module: nn.Module
    """In float32 on the CPU."""
    traced: TracedGenerator
    contract: InputContract
    """Of the file: that of the generator, with the size."""
    side: int
    """Height and width of images, in pixels."""
    quantized: bool
    """Whether the file keeps the quantisers."""

    @property
    def inputs(self) -> Inputs:
        """Return constant inputs, a batch of one."""
        return dummy_inputs(self.contract, self.side)

    @torch.no_grad()
    def image(self, nudge: bool = False) -> np.ndarray:
        """Return what the file should draw of these inputs, or of slightly changed ones."""
        plain = self.module if self.quantized else without_quantizers(self.module)
        first, *rest = self.inputs
        return plain(torch.from_numpy(nudged(first.numpy())) if nudge else first, *rest).numpy()


def at_one_size(module: nn.Module, quantization: str | None, size: int, suffix: str) -> OneSize:
    """Trace a generator at one size.

    Args:
        quantization: qdq, none, or None for qdq where the generator is quantised.
        size: height and width in pixels; the next that the generator takes is used.
        suffix: of the file, for texts.
    Raises:
        UserError: it cannot be traced, draws noise, or is not quantised where qdq is asked for.
    """
    quantized = is_quantized(module) and quantization != "none"
    if quantization == "qdq" and not quantized:
        raise UserError("the generator has no quantised layers for --quantization qdq; take none")
    contract = infer_spec(module).contract
    if contract.signal:
        raise UserError(f"a {suffix} file is made for images; export waveforms to .onnx or .xml")
    module = module.to("cpu", torch.float32).eval()
    side = contract.next_side(size)
    if not contract.latent_size:
        contract = dataclasses.replace(contract, size=side)
    traced = trace(module, contract, side, quantized=quantized, batch=1)
    if traced.noisy:
        raise UserError(
            f"the generator draws noise, which a {suffix} file cannot; take --fix-noise when "
            "compressing, or --format onnx"
        )
    return OneSize(module, traced, contract, side, quantized)


def metadata_at(
    one: OneSize, float_layers: Sequence[str], provenance: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the metadata of a file, with its layers in int8 and in float."""
    form, spec = "qdq" if one.quantized else FLOAT, infer_spec(one.module)
    metadata = metadata_of(one.contract, form, str(spec), with_version(provenance or {}))
    metadata = with_macs(metadata, one.module, one.contract, one.side)
    return metadata | {
        "quantized_layers": len(one.traced.layers),
        "int8_layers": [path for path in one.traced.layers if path not in float_layers],
        "float_layers": list(float_layers),
    }


def checked(
    one: OneSize, runtime: str, started: Started, layers: Layers, float_layers: Sequence[str]
) -> dict[str, Any]:
    """Return runtime -> the greatest difference of a layer in int8, and of the image.

    Args:
        started: the file in its runtime.
        float_layers: quantised layers that are not in int8, and are not compared alone.
    Raises:
        UserError: it exceeds what rounding explains.
    """
    made = started.run(*(x.numpy() for x in one.inputs))
    if one.quantized:
        worst = check_layers(one, runtime, layers, float_layers)
        return {runtime: {**worst, "image": image_error(one, made, runtime)}}
    expected = one.image()
    error = float(np.abs(made - expected).max())
    if not error <= FLOAT_TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise _missed("the float file's image", error, runtime)
    return {runtime: {"error": error}}


def image_error(one: OneSize, made: np.ndarray, runtime: str) -> float:
    """Return the mean difference of a file's image over the deviation of the generator's.

    Raises:
        UserError: flips of codes do not explain it.
    """
    expected, moved = one.image(), one.image(nudge=True)
    spread = max(float(expected.std()), float(np.finfo(np.float32).tiny))
    error = float(np.abs(made - expected).mean()) / spread
    if not only_flips(made, expected, moved):
        kind = "int8 file" if one.quantized else "file"
        raise _missed(f"the {kind}'s image", error, runtime)
    return error


def check_layers(
    one: OneSize, runtime: str, layers: Layers, float_layers: Sequence[str]
) -> dict[str, Any]:
    """Return the worst int8 layer, its difference over its range, and the share of ties.

    Each runs alone on its own input in the student.

    Raises:
        UserError: a layer differs by more than LAYER_TOLERANCE.
    """
    seen, modules = layer_inputs(one.module, one.inputs), quantized_layers(one.module)
    nodes = {module_path(n): n for n in reversed(one.traced.nodes) if _is_layer(n)}
    rows, given = [], []
    for path, layer in one.traced.layers.items():
        if path in float_layers or path not in seen or path not in nodes or layer.inputs is None:
            continue
        values, ties = off_the_borders(seen[path], layer.inputs)
        rows.append((path, *expected_of(modules[path], values, layer.outputs), ties))
        given.append(padded_input(modules[path], values))
    if not rows:
        return {}
    made = layers([nodes[path] for path, *_ in rows], tuple(given))
    worst: dict[str, Any] = {"layer": "", "error": -1.0, "ties": 0.0, "left_out": 0.0}
    for (path, expected, sure, ties), result in zip(rows, made, strict=True):
        difference = np.abs(result - expected).max(initial=0, where=sure)
        error = float(difference) / range_of(expected)
        if not error <= worst["error"]:
            left_out = 1 - float(sure.mean())
            worst = {"layer": path, "error": error, "ties": ties, "left_out": left_out}
    if not worst["error"] <= LAYER_TOLERANCE:
        raise _missed(f"the int8 layer {worst['layer']}", worst["error"], runtime)
    return worst


def _is_layer(node: fx.Node) -> bool:
    return operator_name(node).startswith(("conv", "linear"))


def _missed(what: str, error: float, runtime: str) -> UserError:
    return UserError(
        f"{what} differs from torch by {error:.2g} of its range in {NAMES[runtime]}; nothing is "
        "written. Take --format onnx, and please report the generator"
    )
