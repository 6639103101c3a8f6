"""Placement in runtimes: exported files as torch modules, and any generator in any runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import WeightsFile
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.errors import UserError
from gan_slimming.export.convert import convert, convert_at_one_size
from gan_slimming.export.export_model import AT_ONE_SIZE, FORMATS
from gan_slimming.export.one_size import NAMES
from gan_slimming.models.registry import infer_spec, spec_of
from gan_slimming.runtime.sessions import (
    ALL_RUNTIMES,
    SUFFIXES,
    RuntimeModel,
    open_runtime,
    require,
)
from gan_slimming.serialization.resolve import choose_device, resolve_model

INT8_QUANTIZATION = {
    "onnxruntime": "integer",
    "openvino": "qdq",
    "executorch": "qdq",
    "litert": "qdq",
}
"""Runtime -> the quantization that it executes in int8."""


class ExportedGenerator(nn.Module):
    """An exported file as a torch module: tensors in, tensors out, the runtime in between.

    Args:
        opened: from open_runtime.
        name: the generator's name, for reports.
    """

    def __init__(self, opened: RuntimeModel, name: str) -> None:
        super().__init__()
        self.opened = opened
        self.contract = opened.contract
        self.name = name

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the images of a batch of inputs; the contract describes both."""
        return torch.from_numpy(self.opened(*(x.detach().cpu().numpy() for x in inputs)))


def is_exported(model: object) -> bool:
    """Return whether MODEL is the path of an exported file."""
    return isinstance(model, str | Path) and Path(model).suffix.lower() in SUFFIXES


def check_runtime(runtime: str) -> None:
    """Raise UserError for a runtime that does not exist or is not installed."""
    if runtime not in ALL_RUNTIMES:
        raise UserError(f"runtime must be {', '.join(ALL_RUNTIMES)} or torch, got {runtime!r}")
    require(runtime)


def write_for(
    module: nn.Module, runtime: str, quantization: str, folder: Path, size: int | None = None
) -> Path:
    """Export a generator for immediate use in a runtime, without checking parity.

    Args:
        size: height and width in pixels of the images, for ExecuTorch and LiteRT.
    Raises:
        UserError: the runtime is unknown or not installed; or one of those lacks the size.
    """
    check_runtime(runtime)
    if runtime in AT_ONE_SIZE:
        suffix = FORMATS[runtime]
        if size is None:
            raise UserError(
                f"a file for {NAMES[runtime]} takes images of one size; write it by export "
                f"--format {runtime} --size N, and give the {suffix} in place of the generator"
            )
        path = folder / f"{runtime}-{quantization}{suffix}"
        made = convert_at_one_size(
            module, runtime, quantization=quantization, size=size, check=False
        )
        path.write_bytes(made.content)
        return path
    path = folder / f"{runtime}-{quantization}.onnx"
    path.write_bytes(convert(module, quantization=quantization, runtimes=()).content)
    return path


def in_runtime(
    model: str | Path | nn.Module, runtime: str | None, threads: int | None = None,
    precision: str = "f32",
) -> ExportedGenerator:  # fmt: skip
    """Open a generator or an exported file in a runtime, in int8 where it is quantised.

    Args:
        precision: of the float layers, as for open_runtime.
    Raises:
        UserError: as for open_runtime and convert; or torch is asked to run an exported file.
    """
    if not isinstance(model, nn.Module):
        if runtime == "torch":
            raise UserError(f"{model} is an exported file, which torch cannot run; leave --runtime")
        return ExportedGenerator(
            open_runtime(model, runtime, threads, precision=precision), Path(model).name
        )
    assert runtime is not None
    check_runtime(runtime)
    infer_spec(model)
    quantization = INT8_QUANTIZATION[runtime] if _is_quantized(model) else "none"
    with tempfile.TemporaryDirectory(prefix="gan-slimming-") as folder:
        path = write_for(model, runtime, quantization, Path(folder))
        opened = open_runtime(path, runtime, threads, precision=precision)
        return ExportedGenerator(opened, str(spec_of(model)))


def place(
    model: str | Path | nn.Module,
    device: str,
    runtime: str | None = None,
    threads: int | None = None,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[GeneratorAdapter, torch.device]:
    """Return any generator where it will run, behind its adapter, and the device for its inputs.

    Args:
        runtime, threads: as for in_runtime; None or torch takes `device`, but for exported files.
        weights, factory, arguments: as for resolve_model.
    """
    elsewhere = is_exported(model) or runtime not in (None, "torch")
    where = torch.device("cpu") if elsewhere else choose_device(device)
    if not isinstance(model, nn.Module) and not is_exported(model):
        model = resolve_model(model, weights, where, factory, arguments)
    if elsewhere or not isinstance(model, nn.Module):
        model = in_runtime(model, runtime, threads)
    contract = infer_spec(model).contract
    model.to(where).eval()
    return GeneratorAdapter(model, contract), where


def model_name(generator: nn.Module) -> str:
    """Return a generator's own name and, if it is exported, its runtime."""
    if isinstance(generator, ExportedGenerator):
        return f"{generator.name} in {generator.opened.runtime}"
    return str(spec_of(generator))


def _is_quantized(module: nn.Module) -> bool:
    from gan_slimming.export.trace.integers import is_quantized

    return is_quantized(module)
