"""Exported files in place of torch generators, and any generator in any runtime."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.errors import UserError
from gan_slimming.export.convert import convert
from gan_slimming.models.registry import infer_spec, spec_of
from gan_slimming.runtime.sessions import RUNTIMES, SUFFIXES, RuntimeModel, open_runtime, require
from gan_slimming.serialization.resolve import choose_device, resolve_model

INT8_QUANTIZATION = {"onnxruntime": "integer", "openvino": "qdq"}
"""What each runtime really runs in int8."""


class ExportedGenerator(nn.Module):
    """An exported file as a generator: tensors in, tensors out, the runtime in between.

    Args:
        opened: from open_runtime.
        name: what it is called.
    """

    def __init__(self, opened: RuntimeModel, name: str) -> None:
        super().__init__()
        self.opened = opened
        self.contract = opened.contract
        self.name = name

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the contract says, to images as it says."""
        return torch.from_numpy(self.opened(*(x.detach().cpu().numpy() for x in inputs)))


def is_exported(model: object) -> bool:
    """Whether MODEL is the path of an exported file."""
    return isinstance(model, str | Path) and Path(model).suffix.lower() in SUFFIXES


def check_runtime(runtime: str) -> None:
    """Raises UserError for a runtime that does not exist or is not installed."""
    if runtime not in RUNTIMES:
        raise UserError(f"runtime must be {', '.join(RUNTIMES)} or torch, got {runtime!r}")
    require(runtime)


def write_for(module: nn.Module, runtime: str, quantization: str, folder: Path) -> Path:
    """A generator as a file for a runtime, without a check of parity, for use at once."""
    check_runtime(runtime)
    path = folder / f"{runtime}-{quantization}.onnx"
    path.write_bytes(convert(module, quantization=quantization, runtimes=()).content)
    return path


def in_runtime(
    model: str | Path | nn.Module, runtime: str | None, threads: int | None = None,
    precision: str = "f32",
) -> ExportedGenerator:  # fmt: skip
    """A generator, or an exported file, in a runtime: in int8 where it is quantised.

    Args:
        precision: of the float rest, as for open_runtime.
    Raises:
        UserError: as open_runtime and convert; torch is asked for an exported file.
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
    weights: str | Path | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[GeneratorAdapter, torch.device]:
    """Any generator where it will run, behind its border, and the device that it is fed on.

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
    return GeneratorAdapter(model.to(where).eval(), contract), where


def model_name(generator: nn.Module) -> str:
    """What a generator calls itself, and the runtime that it is in."""
    if isinstance(generator, ExportedGenerator):
        return f"{generator.name} in {generator.opened.runtime}"
    return str(spec_of(generator))


def _is_quantized(module: nn.Module) -> bool:
    from gan_slimming.export.trace.graph import is_quantized

    return is_quantized(module)
