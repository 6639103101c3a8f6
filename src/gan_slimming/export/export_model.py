"""export: a trained generator becomes a file that a stock runtime executes in int8."""

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

from gan_slimming.config import EXPORTS, WeightsFile, check_numbers
from gan_slimming.data.files import refuse_existing
from gan_slimming.errors import UserError, renamed
from gan_slimming.export.content import FLOAT, ExportedContent
from gan_slimming.export.convert import OPSET, TRACED_SIZE, convert, convert_at_one_size
from gan_slimming.export.one_size import NAMES, SUFFIXES
from gan_slimming.export.packages import refuse_package, write_package
from gan_slimming.metrics.complexity import parameters_of
from gan_slimming.runtime.profiling import executed_layers
from gan_slimming.runtime.sessions import RUNTIMES, listed, require, start_openvino
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.resolve import model_file, resolve_model
from gan_slimming.serialization.run_folder import RunFolder

Format = Literal["onnx", "openvino", "executorch", "litert", "coreml"]
FORMATS = {**EXPORTS, **SUFFIXES}
"""Format -> the ending of its file."""
_NEEDED = {"onnx": ("onnx",), "openvino": ("onnx", "openvino"), "coreml": ("coremltools",)}
"""Format -> the packages that write it, where that is not a runtime of its name."""
_NAMES = {"openvino": "OpenVINO", **NAMES}
AT_ONE_SIZE = tuple(NAMES)
"""Formats, most with a runtime of the same name, of files that take images of one size."""
QUANTIZATIONS = ("qdq", "integer", "none")


class ExportWarning(UserWarning):
    """A warning that the likeliest runtime runs the file, or layers of it, in float."""


@renamed(form="quantization")
def export_model(
    model: str | Path | nn.Module,
    output: str | Path,
    *,
    format: Format | None = None,
    quantization: str | None = None,
    opset: int | None = None,
    size: int | None = None,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    cpus: Literal["all", "own"] = "all",
    overwrite: bool = False,
    fixed_size: bool = False,
    run: str | Path | None = None,
) -> dict[str, Any]:
    """Export a generator to a file for a runtime, after checking its parity with torch.

    Args:
        model: as for resolve_model, or a generator itself.
        output: .onnx, .pte, .tflite, a folder .mlpackage, or .xml with its weights in a .bin
            beside it.
        format: one of FORMATS; None takes it from the file's suffix.
        quantization: integer for int8 in ONNX Runtime, qdq for int8 elsewhere, none for float. None
            takes qdq for a quantised generator, else none; an .onnx file in qdq by default gives an
            ExportWarning.
        opset: ONNX opset; without effect on other formats. None takes 17, or 21 where weights have
            at most 4 bits, which it stores in half a byte.
        size: height and width, in pixels, of the image for the parity check, and of the images of
            a file of a single size; None takes the run's size for the latter, else 64.
        weights, factory, arguments: as for resolve_model.
        cpus: kinds of CPUs to check OpenVINO's int8 kernels on: all that this CPU can imitate, or
            its own alone.
        overwrite: whether to replace the file, and the .bin beside an .xml, if they exist.
        fixed_size: write a file that takes a single size, as .pte and .tflite always do. Without
            it, a file takes all sizes of the generator, or those that can be traced, with an
            ExportWarning.
        run: folder of the run that made a generator which is given itself, for size and provenance.
    Returns:
        output, format, quantization, form (its name in version 0.1; float for none), opset,
        size_bytes, parameters, quantized_layers, float_layers, convolutions (precision -> number
        of convolutions in OpenVINO), outside (of .pte and .tflite: operators that XNNPACK leaves to
        other kernels, with their layers and the numbers that they write), sizes (of images that the
        file takes), parity, cpus (kind -> layers in float there, because int8 kernels get them
        wrong), seconds.
    Raises:
        UserError: format, quantization, opset or model is wrong; an operator has no counterpart;
            parity is missed; or the file exists. Nothing is written then.
    """
    started = time.monotonic()
    check_numbers(size=size)
    path = Path(output)
    quantization = "none" if quantization == FLOAT else quantization
    kind = check_format(path, format, quantization)
    if kind == "coreml":
        refuse_package(path, overwrite=overwrite)
    else:
        refuse_existing(*_files(path, kind), overwrite=overwrite)
    require(*_NEEDED.get(kind, (kind,)))
    source = run if isinstance(model, nn.Module) else model
    own = size or (source and _size_of_run(source)) or None
    provenance = _provenance(source) if source else {}
    if not isinstance(model, nn.Module):
        model = resolve_model(model, weights, factory=factory, arguments=arguments)
    opset = opset or _opset_for(model, kind, quantization)
    if kind in AT_ONE_SIZE:
        exported = convert_at_one_size(
            model, kind, quantization=quantization, size=own or TRACED_SIZE, provenance=provenance
        )
    else:
        runtimes = ["openvino"] if kind == "openvino" else list(RUNTIMES)
        exported = convert(
            model, quantization=quantization, opset=opset, size=size or TRACED_SIZE, own_size=own,
            provenance=provenance, runtimes=runtimes, cpus=cpus, fixed_size=fixed_size,
        )  # fmt: skip
    size_bytes = _write(path, kind, exported)
    if kind == "onnx" and quantization is None:
        _warn_of_float(path, exported)
    _warn_of_kernels(exported)
    if exported.restricted:
        warnings.warn(
            f"{path} takes {sizes_in_words(exported)}: {exported.restricted}",
            ExportWarning,
            stacklevel=3,
        )
    return {
        "output": str(path),
        "format": kind,
        "opset": None if kind in AT_ONE_SIZE else opset,
        "size_bytes": size_bytes,
        "parameters": parameters_of(model),
        **_told(exported),
        "seconds": round(time.monotonic() - started, 3),
    }


def _opset_for(model: nn.Module, kind: str, quantization: str | None) -> int:
    """Return the least opset that stores weights of 4 bits in as many."""
    if kind != "onnx" or quantization not in (None, "qdq"):
        return OPSET
    from gan_slimming.export.four_bits import OPSET as INT4
    from gan_slimming.export.four_bits import fits_four_bits

    return INT4 if fits_four_bits(model) else OPSET


def check_format(path: Path, format: str | None, quantization: str | None) -> str:
    """Return the format, from the flag or the file's name.

    Raises:
        UserError: flag and name disagree; format or quantization is unknown; or they do not fit.
    """
    named = {suffix: name for name, suffix in FORMATS.items()}.get(path.suffix.lower())
    kind = format or named
    if kind not in FORMATS:
        what = f"format {format!r}" if format else f"{path} names no format"
        *names, last = FORMATS
        *suffixes, end = FORMATS.values()
        raise UserError(
            f"{what}; take --format {', '.join(names)} or {last}, with a file "
            f"{', '.join(suffixes)} or {end}"
        )
    if path.suffix.lower() != FORMATS[kind]:
        raise UserError(f"{kind} files end in {FORMATS[kind]}, got {path}; rename --output")
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise UserError(f"quantization must be {', '.join(QUANTIZATIONS)}, got {quantization!r}")
    if kind != "onnx" and quantization == "integer":
        raise UserError(
            "quantization integer is for ONNX Runtime; take --quantization qdq, which "
            f"{_NAMES[kind]} runs in int8"
        )
    return kind


def _files(path: Path, kind: str) -> list[Path]:
    """Return the files of an export: itself, and the weights of OpenVINO's."""
    return [path, path.with_suffix(".bin")] if kind == "openvino" else [path]


def _warn_of_float(path: Path, exported: ExportedContent) -> None:
    """Warn of a qdq .onnx file: it most likely goes to ONNX Runtime, which runs it in float."""
    if exported.metadata["form"] == "qdq":
        warnings.warn(
            f"{path} has quantization qdq: OpenVINO runs it in int8, ONNX Runtime in float; for "
            "ONNX Runtime add --quantization integer",
            ExportWarning,
            stacklevel=4,
        )


def _warn_of_kernels(exported: ExportedContent) -> None:
    """Warn of layers that run in float on some CPUs."""
    faults = [f"{kind}: {listed(names)}" for kind, names in exported.cpus.items() if names]
    if faults:
        warnings.warn(
            f"OpenVINO's int8 kernels get layers wrong on some CPUs, where they run in float ("
            f"{'; '.join(faults)}); other programs must keep them in float themselves",
            ExportWarning,
            stacklevel=4,
        )


def _told(exported: ExportedContent) -> dict[str, Any]:
    """Return the entries of export's report that describe the content."""
    form = exported.metadata["form"]
    return {
        "quantization": "none" if form == FLOAT else form,
        "form": form,
        "quantized_layers": exported.metadata["quantized_layers"],
        "float_layers": exported.float_layers,
        "convolutions": _convolutions(exported),
        "outside": exported.outside,
        "sizes": sizes_in_words(exported),
        "parity": exported.parity,
        "cpus": exported.cpus,
    }


def sizes_in_words(exported: ExportedContent) -> str:
    """Return which images the file takes, in words; '' for noise."""
    contract = exported.metadata["contract"]
    if contract["latent_size"]:
        return ""
    signal = contract.get("signal", False)
    if contract["size"]:
        side = contract["size"]
        return f"{side} frames only" if signal else f"{side}x{side} pixels only"
    step, unit = contract["multiple_of"], "frames" if signal else "pixels"
    return f"multiples of {step} {unit}" if step > 1 else "any size"


def _convolutions(exported: ExportedContent) -> dict[str, int]:
    """Return precision -> number of convolutions in OpenVINO; empty without OpenVINO."""
    elsewhere = exported.metadata["form"] == "integer" or "int8_layers" in exported.metadata
    if elsewhere or find_spec("openvino") is None:
        return {}
    counts: dict[str, int] = {}
    for layer in executed_layers(start_openvino(exported.content, 1)[1]):
        if layer.computes:
            counts[layer.precision] = counts.get(layer.precision, 0) + 1
    return counts


def _write(path: Path, kind: str, exported: ExportedContent) -> int:
    """Write all files or none; return their size in bytes, weights included."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            draft = Path(folder) / path.name
            if kind == "coreml":
                return write_package(exported.content, draft, path)
            if kind != "openvino":
                draft.write_bytes(exported.content)
                files = [draft]
            else:
                from gan_slimming.export.openvino import save_ir

                files = save_ir(exported.content, draft, exported.metadata)
            size_bytes = sum(file.stat().st_size for file in files)
            for file in reversed(files):  # the .xml last, so that it never stands alone
                os.replace(file, path.with_name(file.name))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be written ({reason}); check the folder") from error
    return size_bytes


def _provenance(model: str | Path) -> dict[str, Any]:
    """Return the name of the model's source, and the provenance in a saved generator's header."""
    file = model_file(model)
    saved = file is not None and file.suffix == ".safetensors" and ":" not in str(model)
    provenance = read_header(file)["provenance"] if saved and file is not None else {}
    return {"source": Path(str(model)).name, **provenance}


def _size_of_run(model: str | Path) -> int | None:
    """Return the size of images that a run was trained at; None for other models."""
    folder = RunFolder(model)
    return folder.read_config()[0].size if folder.config.is_file() else None
