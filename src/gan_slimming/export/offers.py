"""The runtimes that `benchmark` knows, and what each one offers: one entry each, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.export.placement import INT8_QUANTIZATION, write_for
from gan_slimming.runtime.profiling import executed_layers, float_kernels, int8_kernels, layer_times
from gan_slimming.runtime.runtime_model import RuntimeModel
from gan_slimming.runtime.sessions import open_runtime

Write = Callable[[nn.Module, str, Path, int], Path]
"""(generator, precision, folder, side of the images in pixels) -> the file for the runtime."""
Layers = Callable[[Any, Any], tuple[list[str], list[str]]]
"""(file's path or MODEL, opened file or torch generator) -> layers in int8, layers in float."""
COMPUTING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d,
             nn.ConvTranspose3d, nn.Linear)  # fmt: skip
"""Layers of torch that multiply weights with activations."""


@dataclass(frozen=True)
class Offer:
    """What a runtime offers."""

    precisions: tuple[str, ...]
    """Of benchmark_jobs.PRECISIONS; those of int8 are for quantised generators."""
    layers: Layers
    """Which layers run in int8 and which do not, asked once after timing."""
    packages: tuple[str, ...] = ()
    """Packages that must be installed."""
    extra: str = "export"
    """Extra of this package that installs them."""
    write: Write | None = None
    """Exports a generator for the runtime; None where it runs the generator itself."""
    reads: tuple[str, ...] = ()
    """Endings of the exported files that it opens."""
    forms: tuple[str, ...] = ()
    """Values of `form` in the metadata of exported files that it runs; float is always one."""

    @property
    def installed(self) -> bool:
        """Return whether all its packages are installed."""
        return all(find_spec(package) is not None for package in self.packages)

    def require(self) -> None:
        """Raise UserError where a package is missing."""
        missing = [package for package in self.packages if find_spec(package) is None]
        if missing:
            raise UserError(
                f"{missing[0]} is not installed; pip install 'gan-slimming[{self.extra}]'"
            )


def _export(runtime: str, module: nn.Module, precision: str, folder: Path, side: int) -> Path:
    """Write a file for the runtime."""
    quantization = INT8_QUANTIZATION[runtime] if precision.startswith("int8") else "none"
    return write_for(module, runtime, quantization, folder, side)


def _torch_layers(_: str, module: nn.Module) -> tuple[list[str], list[str]]:
    """Return no layer in int8: torch computes fake quantisers in float."""
    return [], [name for name, layer in module.named_modules() if isinstance(layer, COMPUTING)]


def _openvino_layers(_: str, opened: RuntimeModel) -> tuple[list[str], list[str]]:
    """Return the layers of OpenVINO's execution graph."""
    computing = [layer for layer in executed_layers(opened.native) if layer.computes]
    in_int8 = [layer.name for layer in computing if layer.int8]
    return in_int8, [layer.name for layer in computing if not layer.int8]


def _onnxruntime_layers(file: str, opened: RuntimeModel) -> tuple[list[str], list[str]]:
    """Return the layers that a profile of one more run names."""
    from gan_slimming.data.dummy import dummy_arrays

    profiled = open_runtime(file, "onnxruntime", opened.threads, profile=True)
    profiled(*dummy_arrays(profiled.contract, profiled.contract.next_side(64)))
    layers = layer_times(profiled.native)
    return int8_kernels(layers), float_kernels(profiled.native, layers)


def _written_layers(_: str, opened: RuntimeModel) -> tuple[list[str], list[str]]:
    """Return the layers as export wrote them into the file."""
    return opened.metadata.get("int8_layers", []), opened.metadata.get("float_layers", [])


OFFERS: dict[str, Offer] = {
    "torch": Offer(("f32",), _torch_layers),
    "torch.compile": Offer(("f32",), _torch_layers),
    "onnxruntime": Offer(
        ("f32", "int8"),
        _onnxruntime_layers,
        packages=("onnx", "onnxruntime"),
        write=partial(_export, "onnxruntime"),
        reads=(".onnx",),
        forms=("qdq", "integer"),
    ),
    "openvino": Offer(
        ("f32", "bf16", "int8", "int8-bf16"),
        _openvino_layers,
        packages=("onnx", "openvino"),
        write=partial(_export, "openvino"),
        reads=(".onnx", ".xml"),
        forms=("qdq",),
    ),
    "executorch": Offer(
        ("f32", "int8"),
        _written_layers,
        packages=("executorch",),
        extra="executorch",
        write=partial(_export, "executorch"),
        reads=(".pte",),
        forms=("qdq",),
    ),
    "litert": Offer(
        ("f32", "int8"),
        _written_layers,
        packages=("ai_edge_litert",),
        extra="litert",
        write=partial(_export, "litert"),
        reads=(".tflite",),
        forms=("qdq",),
    ),
}
"""Runtime -> what it offers. A further runtime is a further entry."""
DEFAULT = ("torch", "onnxruntime", "openvino")
"""Runtimes that are timed unless others are named."""


def chosen_runtimes(named: Sequence[str] | None, *, matrix: bool) -> tuple[str, ...]:
    """Return the runtimes to measure: those named, else the default or, for a matrix, all here.

    torch.compile, which is slow to start, has to be named.

    Raises:
        UserError: one is unknown, or not installed.
    """
    if named is None and matrix:
        return tuple(
            name for name, offer in OFFERS.items() if offer.installed and name != "torch.compile"
        )
    names = tuple(named or DEFAULT)
    for name in names:
        if name not in OFFERS:
            raise UserError(f"--runtimes must be of {', '.join(OFFERS)}; got {name!r}")
        OFFERS[name].require()
    return names
