"""The conversion of a generator to an ONNX model in memory, with a check of its parity."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.errors import UserError
from gan_slimming.export.content import (
    FLOAT,
    ExportedContent,
    metadata_of,
    with_macs,
    with_version,
)
from gan_slimming.export.one_size import SUFFIXES, OneSize, at_one_size
from gan_slimming.graph.contexts import WithoutNoise
from gan_slimming.models.registry import infer_spec
from gan_slimming.runtime.sessions import RUNTIMES, require

OPSET = 17
"""ONNX opset: new enough for every operator here, old enough for every runtime in use."""
TRACED_SIZE = 64
"""Height and width, in pixels, of the image for tracing and for the parity check."""


def convert(
    module: nn.Module,
    *,
    quantization: str | None = None,
    opset: int = OPSET,
    size: int = TRACED_SIZE,
    provenance: Mapping[str, Any] | None = None,
    runtimes: Sequence[str] = RUNTIMES,
    cpus: Literal["all", "own"] = "own",
    fixed_size: bool = False,
    own_size: int | None = None,
) -> ExportedContent:
    """Return the ONNX model of a generator, after checking its parity in the installed runtimes.

    Args:
        module, quantization, opset, size: as for `export_model`.
        provenance: entries for the file's metadata.
        runtimes: where to check parity; none for no check.
        cpus, fixed_size: as for `export_model`.
        own_size: height and width in pixels for a file of a single size; None takes `size`.
    Raises:
        UserError: an operator has no counterpart at any size, or parity is missed.
    """
    require("onnx")
    from gan_slimming.export.onnx import onnx_model
    from gan_slimming.export.trace.graph import trace
    from gan_slimming.export.trace.integers import is_quantized
    from gan_slimming.export.trace.widest import widest

    quantized = is_quantized(module)
    chosen: Any = quantization or ("qdq" if quantized else "none")
    if chosen != "none" and not quantized:
        raise UserError(
            f"the generator has no quantised layers for --quantization {chosen}; take none"
        )
    spec = infer_spec(module)
    if size < 1:
        raise UserError(f"size must be at least 1 pixel, got {size}")
    module = module.to("cpu", torch.float32)
    module.eval()
    form = FLOAT if chosen == "none" else chosen
    common = metadata_of(spec.contract, form, str(spec), with_version(provenance or {}))
    fitting = spec.contract.next_side(size)
    common = with_macs(common, module, spec.contract, fitting)

    def written(contract: InputContract, alone: bool) -> _Written:
        side = contract.next_side(size)
        traced = trace(module, contract, side, quantized=chosen != "none", batch=2 - alone)
        metadata = common | {"contract": dataclasses.asdict(contract)}
        metadata["quantized_layers"] = len(traced.layers)
        model, float_layers = onnx_model(traced, chosen, opset, metadata)
        return _Written(traced, contract, side, metadata, model.SerializeToString(), float_layers)

    single = spec.contract.next_side(own_size or size)
    file, restricted = widest(written, spec.contract, single, fixed_size=fixed_size)
    offered = ["onnxruntime"] if chosen == "integer" else list(RUNTIMES)
    present = [r for r in runtimes if r in offered and find_spec(r) is not None]
    still = file.content
    if present and file.traced.noisy:
        model, _ = onnx_model(file.traced, chosen, opset, file.metadata, noise=False)
        still = model.SerializeToString()
    wrong: dict[str, list[str]] = {}
    with WithoutNoise() if file.traced.noisy else nullcontext():
        parity = _parity(module, file, still, chosen, opset, present)
    if "openvino" in present:
        from gan_slimming.runtime.kernel_verdicts import wrong_layers_by_kind

        wrong = wrong_layers_by_kind(still, file.contract, all_kinds=cpus == "all")
    return ExportedContent(
        file.content, file.metadata, file.float_layers, parity, wrong, restricted
    )


@dataclass(frozen=True)
class _Written:
    """A model for the sizes that a contract allows, before its parity is checked."""

    traced: Any
    contract: InputContract
    side: int
    metadata: dict[str, Any]
    content: bytes
    float_layers: list[str]


def _parity(
    module: nn.Module, file: _Written, content: bytes, quantization: Any, opset: int,
    runtimes: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Return runtime -> greatest difference, of one layer in int8, of the image in float.

    Raises:
        UserError: it exceeds parity.LAYER_TOLERANCE or parity.FLOAT_TOLERANCE.
    """
    from gan_slimming.export import parity
    from gan_slimming.export.trace.tracing import sides_of

    if not runtimes:
        return {}
    side, contract = file.side, file.contract
    if quantization != "none":
        inputs = dummy_inputs(contract, side)
        rows = parity.check_layers(module, file.traced, quantization, opset, inputs, runtimes)
        images = parity.check_image(module, content, inputs, runtimes)
        worst = parity.summary(rows)
        return {runtime: {**worst.get(runtime, {}), "image": e} for runtime, e in images.items()}
    step = contract.multiple_of
    sides = ((side, side), (side + step, side + step), (side + 3 * step, side + 2 * step))
    sides = ((side, side),) * 3 if contract.size else sides
    most = 1 if sides_of(next(iter(file.traced.sources.values())))[0].fixed else len(sides)
    batches = [dummy_inputs(contract, pair, batch=min(n, most)) for n, pair in enumerate(sides, 1)]
    errors = parity.check_float(module, content, batches, runtimes)
    return {runtime: {"error": error} for runtime, error in errors.items()}


def convert_at_one_size(
    module: nn.Module,
    format: str,
    *,
    quantization: str | None = None,
    size: int,
    provenance: Mapping[str, Any] | None = None,
    check: bool = True,
) -> ExportedContent:
    """Return the content of a file that takes images of one size, after checking its parity.

    Args:
        format: one of `one_size.NAMES`, whose packages are installed.
        quantization: qdq for int8, none for float (Core ML: half precision); None takes qdq for a
            quantised generator.
        size: height and width in pixels of the images.
        provenance: entries for the file's metadata.
        check: whether parity is checked.
    Raises:
        UserError: the format lacks an operator, or parity is missed.
    """
    one = at_one_size(module, quantization, size, SUFFIXES[format])
    return _writer(format)(one, provenance, check)


def _writer(format: str) -> Callable[[OneSize, Mapping[str, Any] | None, bool], ExportedContent]:
    """Return the function that writes a format; its packages are imported no sooner."""
    if format == "executorch":
        from gan_slimming.export.executorch import convert_executorch

        return convert_executorch
    if format == "coreml":
        from gan_slimming.export.coreml import convert_coreml

        return convert_coreml
    from gan_slimming.export.litert import convert_litert

    return convert_litert
