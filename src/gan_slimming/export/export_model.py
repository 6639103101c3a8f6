"""export: a trained generator as a file that a stock runtime executes in int8, checked first."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from torch import nn

from gan_slimming.errors import UserError, renamed
from gan_slimming.export.convert import FLOAT, OPSET, TRACED_SIZE, ExportedContent, convert
from gan_slimming.metrics.complexity import parameters_of
from gan_slimming.runtime.profiling import executed_layers
from gan_slimming.runtime.sessions import RUNTIMES, listed, require, start_openvino
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.resolve import model_file, resolve_model

Format = Literal["onnx", "openvino"]
FORMATS: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml"}
QUANTIZATIONS = ("qdq", "integer", "none")


class ExportWarning(UserWarning):
    """A file that the likeliest runtime does not execute in int8."""


@renamed(form="quantization")
def export_model(
    model: str | Path | nn.Module,
    output: str | Path,
    *,
    format: Format | None = None,
    quantization: str | None = None,
    opset: int = OPSET,
    size: int = TRACED_SIZE,
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
        quantization: qdq, which OpenVINO runs in int8; integer, which ONNX Runtime does; none for
            float. None takes qdq for a quantised generator, else none. An .onnx file in qdq that
            was not asked for makes an ExportWarning.
        opset: of the ONNX model.
        size: height and width of the image that parity is checked with; the file takes any size.
        weights, factory, arguments: as for resolve_model.
        cpus: the kinds of CPUs that OpenVINO's int8 kernels are checked on: all that this one can
            stand for, or its own alone.
    Returns:
        output, format, quantization, form (its name of version 0.1, where none is float), opset,
        size_bytes, parameters, quantized_layers, float_layers, convolutions (how many OpenVINO
        runs, and in what), parity, cpus (kind -> layers that run in float there, because int8
        kernels get them wrong), seconds.
    Raises:
        UserError: a wrong format, quantization, opset or model; an operator that has no
            counterpart; parity is missed. Nothing is written then.
    """
    started = time.monotonic()
    path = Path(output)
    quantization = "none" if quantization == FLOAT else quantization
    kind = check_format(path, format, quantization)
    require("onnx", *(["openvino"] if kind == "openvino" else []))
    provenance: dict[str, Any] = {}
    if not isinstance(model, nn.Module):
        provenance = _provenance(model)
        model = resolve_model(model, weights, factory=factory, arguments=arguments)
    runtimes = ["openvino"] if kind == "openvino" else list(RUNTIMES)
    made = convert(
        model, quantization=quantization, opset=opset, size=size, provenance=provenance,
        runtimes=runtimes, cpus=cpus,
    )  # fmt: skip
    size_bytes = _write(path, kind, made)
    if kind == "onnx" and quantization is None:
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


def check_format(path: Path, format: str | None, quantization: str | None) -> str:
    """Return the format, from the flag or the file's name.

    Raises:
        UserError: the two disagree, or format or quantization do not exist or do not go together.
    """
    named = {suffix: name for name, suffix in FORMATS.items()}.get(path.suffix.lower())
    kind = format or named
    if kind not in FORMATS:
        what = f"format {format!r}" if format else f"{path} names no format"
        raise UserError(f"{what}; take --format onnx or openvino, with a file .onnx or .xml")
    if path.suffix.lower() != FORMATS[kind]:
        raise UserError(f"{kind} files end in {FORMATS[kind]}, got {path}; rename --output")
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise UserError(f"quantization must be {', '.join(QUANTIZATIONS)}, got {quantization!r}")
    if kind == "openvino" and quantization == "integer":
        raise UserError(
            "quantization integer is for ONNX Runtime; take --quantization qdq, which OpenVINO "
            "runs in int8"
        )
    return kind


def _warn_of_float(path: Path, made: ExportedContent) -> None:
    """An .onnx file goes to ONNX Runtime, most likely, which has no int8 for qdq."""
    if made.metadata["form"] == "qdq":
        warnings.warn(
            f"{path} has quantization qdq: OpenVINO runs it in int8, ONNX Runtime in float; for "
            "ONNX Runtime add --quantization integer",
            ExportWarning,
            stacklevel=4,
        )


def _warn_of_kernels(made: ExportedContent) -> None:
    """Name the layers that run in float on some CPUs."""
    told = [f"{kind}: {listed(names)}" for kind, names in made.cpus.items() if names]
    if told:
        warnings.warn(
            f"OpenVINO's int8 kernels get layers wrong on some CPUs, where they run in float ("
            f"{'; '.join(told)}); other programs than this one have to leave them out themselves",
            ExportWarning,
            stacklevel=4,
        )


def _told(made: ExportedContent) -> dict[str, Any]:
    """Return what export tells of the content."""
    form = made.metadata["form"]
    return {
        "quantization": "none" if form == FLOAT else form,
        "form": form,
        "quantized_layers": made.metadata["quantized_layers"],
        "float_layers": made.float_layers,
        "convolutions": _convolutions(made),
        "parity": made.parity,
        "cpus": made.cpus,
    }


def _convolutions(made: ExportedContent) -> dict[str, int]:
    """Return precision -> convolutions, as OpenVINO executes them; empty without OpenVINO."""
    if made.metadata["form"] == "integer" or find_spec("openvino") is None:
        return {}
    counts: dict[str, int] = {}
    for layer in executed_layers(start_openvino(made.content, 1)[1]):
        if layer.computes:
            counts[layer.precision] = counts.get(layer.precision, 0) + 1
    return counts


def _write(path: Path, kind: str, made: ExportedContent) -> int:
    """Write all files or none; return size_bytes, the weights' file included."""
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


def _provenance(model: str | Path) -> dict[str, Any]:
    """Return what a saved generator says of its origin, and the name that it is exported under."""
    file = model_file(model)
    saved = file is not None and file.suffix == ".safetensors" and ":" not in str(model)
    held = read_header(file)["provenance"] if saved and file is not None else {}
    return {"source": Path(str(model)).name, **held}
