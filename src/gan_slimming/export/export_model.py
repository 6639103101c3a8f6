"""export: a trained generator as a file that a stock runtime executes in int8, checked first."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from gan_slimming.config import InputContract, UserError
from gan_slimming.data.inputs import example_inputs
from gan_slimming.metrics.complexity import count, parameters_of
from gan_slimming.models.registry import spec_of
from gan_slimming.runtime.profiling import executed_layers
from gan_slimming.runtime.sessions import RUNTIMES, listed, require, start_openvino
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.resolve import model_file, resolve_model

Format = Literal["onnx", "openvino"]
FORMATS: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml"}
FORMS = ("float", "qdq", "integer")
OPSET = 17
"""Enough for everything written here, and old enough for every runtime in use."""
TRIAL_SIZE = 64
"""Height and width, in pixels, of the picture that is traced and fed to the layers."""


class ExportWarning(UserWarning):
    """A file that the likeliest runtime does not execute in int8."""


@dataclass(frozen=True)
class ExportedContent:
    """An exported model in memory.

    Attributes:
        content: the ONNX model.
        metadata: what both formats carry.
        float_layers: layers that training quantised and the form cannot hold in int8.
        parity: runtime -> its greatest difference, and in which layer.
        cpus: kind of CPU -> layers that OpenVINO's int8 kernels get wrong there; own is this one.
    """

    content: bytes
    metadata: dict[str, Any]
    float_layers: list[str]
    parity: dict[str, Any]
    cpus: dict[str, list[str]]


def export_model(
    model: str | Path | nn.Module,
    output: str | Path,
    *,
    format: Format | None = None,
    form: str | None = None,
    opset: int = OPSET,
    size: int = TRIAL_SIZE,
    weights: str | Path | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    cpus: Literal["all", "own"] = "all",
) -> dict[str, Any]:
    """Write a generator for a runtime, after its parity with torch has been checked.

    Args:
        model: as for resolve_model, or a generator itself.
        output: the file; .onnx or .xml, whose weights go to the .bin beside it.
        format: onnx or openvino; None goes by the file's name.
        form: qdq, integer or float; None takes qdq for a quantised generator, else float. An .onnx
            file in qdq that was not asked for makes an ExportWarning.
        opset: of the ONNX model.
        size: height and width of the picture that parity is checked with; the file takes any size.
        weights, factory, arguments: as for resolve_model.
        cpus: the kinds of CPUs that OpenVINO's int8 kernels are checked on: all that this one can
            stand for, or its own alone.
    Returns:
        output, format, form, opset, size_bytes, parameters, quantized_layers, float_layers,
        convolutions (how many OpenVINO runs, and in what), parity, cpus (kind -> layers that run
        in float there, because int8 kernels get them wrong), seconds.
    Raises:
        UserError: a wrong format, form, opset or model; an operator that has no counterpart; parity
            is missed. Nothing is written then.
    """
    started = time.monotonic()
    path = Path(output)
    kind = check_format(path, format, form)
    require("onnx", *(["openvino"] if kind == "openvino" else []))
    provenance: dict[str, Any] = {}
    if not isinstance(model, nn.Module):
        provenance = _provenance(model)
        model = resolve_model(model, weights, factory=factory, arguments=arguments)
    runtimes = ["openvino"] if kind == "openvino" else list(RUNTIMES)
    made = convert(
        model,
        form=form,
        opset=opset,
        size=size,
        provenance=provenance,
        runtimes=runtimes,
        cpus=cpus,
    )
    size_bytes = _write(path, kind, made)
    if kind == "onnx" and form is None:
        _warn_of_float(path, made)
    _warn_of_kernels(made)
    return {
        "output": str(path),
        "format": kind,
        "opset": opset,
        "size_bytes": size_bytes,
        "parameters": parameters_of(model),
        **_told(made),
        "seconds": round(time.monotonic() - started, 3),
    }


def _warn_of_float(path: Path, made: ExportedContent) -> None:
    """An .onnx file goes to ONNX Runtime, most likely, which has no int8 for the form qdq."""
    if made.metadata["form"] == "qdq":
        warnings.warn(
            f"{path} has the form qdq: OpenVINO runs it in int8, ONNX Runtime in float; for ONNX "
            "Runtime add --form integer",
            ExportWarning,
            stacklevel=3,
        )


def _warn_of_kernels(made: ExportedContent) -> None:
    """Name the layers that run in float on some CPUs."""
    told = [f"{kind}: {listed(names)}" for kind, names in made.cpus.items() if names]
    if told:
        warnings.warn(
            f"OpenVINO's int8 kernels get layers wrong on some CPUs, where they run in float ("
            f"{'; '.join(told)}); other programs than this one have to leave them out themselves",
            ExportWarning,
            stacklevel=3,
        )


def _told(made: ExportedContent) -> dict[str, Any]:
    """What export tells of the content."""
    return {
        "form": made.metadata["form"],
        "quantized_layers": made.metadata["quantized_layers"],
        "float_layers": made.float_layers,
        "convolutions": _convolutions(made),
        "parity": made.parity,
        "cpus": made.cpus,
    }


def check_format(path: Path, format: str | None, form: str | None) -> str:
    """The format, from the flag or the file's name.

    Raises:
        UserError: the two disagree, or format or form do not exist or do not go together.
    """
    named = {suffix: name for name, suffix in FORMATS.items()}.get(path.suffix.lower())
    kind = format or named
    if kind not in FORMATS:
        what = f"format {format!r}" if format else f"{path} names no format"
        raise UserError(f"{what}; take --format onnx or openvino, with a file .onnx or .xml")
    if path.suffix.lower() != FORMATS[kind]:
        raise UserError(f"{kind} files end in {FORMATS[kind]}, got {path}; rename --output")
    if form is not None and form not in FORMS:
        raise UserError(f"form must be {', '.join(FORMS)}, got {form!r}")
    if kind == "openvino" and form == "integer":
        raise UserError("form integer is for ONNX Runtime; take --form qdq, which OpenVINO runs in "
                        "int8")  # fmt: skip
    return kind


def convert(
    module: nn.Module,
    *,
    form: str | None = None,
    opset: int = OPSET,
    size: int = TRIAL_SIZE,
    provenance: Mapping[str, Any] | None = None,
    runtimes: Sequence[str] = RUNTIMES,
    cpus: Literal["all", "own"] = "own",
) -> ExportedContent:
    """The ONNX model of a generator, its parity checked in those runtimes that are installed.

    Args:
        module, form, opset, size: as for export.
        provenance: goes into the file.
        runtimes: none for no check.
        cpus: as for export.
    """
    require("onnx")
    from gan_slimming.export.onnx import metadata_of, onnx_model
    from gan_slimming.export.trace.graph import is_quantized, trace

    quantized = is_quantized(module)
    chosen: Any = form or ("qdq" if quantized else "float")
    if chosen != "float" and not quantized:
        raise UserError(f"the generator has no quantised layers for --form {chosen}; take float")
    spec = spec_of(module)
    side = _fitting(size, spec.contract)
    module = module.to("cpu", torch.float32).eval()
    traced = trace(module, spec.contract, side, quantized=chosen != "float")
    metadata = metadata_of(spec.contract, chosen, str(spec), _with_version(provenance or {}))
    metadata["quantized_layers"] = len(traced.layers)
    metadata |= _macs(module, spec.contract, side)
    model, float_layers = onnx_model(traced, chosen, opset, metadata)
    content = model.SerializeToString()
    offered = ["onnxruntime"] if chosen == "integer" else list(RUNTIMES)
    present = [r for r in runtimes if r in offered and find_spec(r) is not None]
    parity = _parity(module, traced, chosen, opset, content, side, spec.contract, present)
    checked: dict[str, list[str]] = {}
    if "openvino" in present:
        from gan_slimming.runtime.kernel_verdicts import wrong_layers_by_kind

        checked = wrong_layers_by_kind(content, spec.contract, all_kinds=cpus == "all")
    return ExportedContent(content, metadata, float_layers, parity, checked)


def _parity(
    module: nn.Module, traced: Any, form: Any, opset: int, content: bytes, side: int,
    contract: InputContract, runtimes: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Runtime -> greatest difference; of a layer for int8, of the picture at three sizes in float.

    Raises:
        UserError: more than parity.LAYER_TOLERANCE or parity.FLOAT_TOLERANCE.
    """
    from gan_slimming.export import parity

    if not runtimes:
        return {}
    if form != "float":
        given = parity.trial_inputs(contract, side, side)
        rows = parity.check_layers(module, traced, form, opset, given, runtimes)
        images = parity.check_image(module, content, given, runtimes)
        found = parity.summary(rows)
        return {runtime: {**found.get(runtime, {}), "image": e} for runtime, e in images.items()}
    step = contract.multiple_of
    sides = ((side, side), (side + step, side + step), (side + 3 * step, side + 2 * step))
    trials = [parity.trial_inputs(contract, *pair, n + 1) for n, pair in enumerate(sides)]
    errors = parity.check_float(module, content, trials, runtimes)
    return {runtime: {"error": error} for runtime, error in errors.items()}


def _macs(module: nn.Module, contract: InputContract, side: int) -> dict[str, Any]:
    """What a runtime's user needs to know the cost: per pixel, or where there are none, in all."""
    macs = count(module, example_inputs(contract, side)).macs
    return {"macs": macs} if contract.latent_size else {"macs_per_pixel": macs / side**2}


def _write(path: Path, kind: str, made: ExportedContent) -> int:
    """The whole file or none of it. Returns size_bytes, the weights' file included."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            draft = Path(folder) / path.name
            if kind == "onnx":
                draft.write_bytes(made.content)
                files = [draft]
            else:
                from gan_slimming.export.openvino import save_ir

                files = save_ir(made.content, draft, made.metadata)
            size_bytes = sum(file.stat().st_size for file in files)
            for file in reversed(files):  # the .xml last, so that it never stands alone
                os.replace(file, path.with_name(file.name))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be written ({reason}); check the folder") from error
    return size_bytes


def _convolutions(made: ExportedContent) -> dict[str, int]:
    """Precision -> convolutions, as OpenVINO executes them; empty where it is not installed."""
    if made.metadata["form"] == "integer" or find_spec("openvino") is None:
        return {}
    counts: dict[str, int] = {}
    for layer in executed_layers(start_openvino(made.content, 1)[1]):
        if layer.computes:
            counts[layer.precision] = counts.get(layer.precision, 0) + 1
    return counts


def _provenance(model: str | Path) -> dict[str, Any]:
    """What a saved generator says of its origin, and the name that it was exported under."""
    file = model_file(model)
    saved = file is not None and file.suffix == ".safetensors" and ":" not in str(model)
    held = read_header(file)["provenance"] if saved and file is not None else {}
    return {"source": Path(str(model)).name, **held}


def _with_version(provenance: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"exported_by": f"gan-slimming {version('gan-slimming')}", **provenance}
    except PackageNotFoundError:
        return dict(provenance)


def _fitting(size: int, contract: InputContract) -> int:
    """The next size that the generator takes."""
    if size < 1:
        raise UserError(f"size must be at least 1 pixel, got {size}")
    step = contract.multiple_of
    return -(-max(size, contract.min_size) // step) * step
