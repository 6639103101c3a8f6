"""Exported files, run by stock runtimes through one small interface."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gan_slimming.config import InputContract, check_numbers
from gan_slimming.errors import UserError, one_line
from gan_slimming.runtime import openvino_int8
from gan_slimming.runtime.executorch import start_executorch
from gan_slimming.runtime.foreign import Port, adapt_foreign
from gan_slimming.runtime.litert import start_litert
from gan_slimming.runtime.runtime_model import RuntimeModel
from gan_slimming.runtime.started import KEY, Started

RUNTIMES = ("onnxruntime", "openvino")
"""The runtimes of ONNX files."""
DEFAULTS = {".onnx": "onnxruntime", ".xml": "openvino", ".pte": "executorch", ".tflite": "litert"}
"""Suffix of a file -> the runtime that opens it, unless another is asked for."""
ALL_RUNTIMES = (*RUNTIMES, "executorch", "litert")
SUFFIXES = tuple(DEFAULTS)
_FORMATS = {
    ".xml": "OpenVINO's format; take --runtime openvino",
    ".pte": "ExecuTorch's format; leave --runtime",
    ".tflite": "LiteRT's format; leave --runtime",
}
_PACKAGES = {"litert": "ai_edge_litert"}
"""Runtime -> its package, where that has another name."""
_EXTRAS = {"executorch": "executorch", "ai_edge_litert": "litert", "coremltools": "coreml"}
"""Package -> the extra that installs it, where that is not [export]."""
NAMED = 3
"""Number of layers that a warning names."""


class KernelWarning(UserWarning):
    """A warning of layers that run in float, because this CPU's int8 kernels get them wrong."""


def open_runtime(
    path: str | Path,
    runtime: str | None = None,
    threads: int | None = None,
    *,
    precision: str = "f32",
    profile: bool = False,
) -> RuntimeModel:
    """Load an exported file.

    Args:
        path: .onnx for ONNX Runtime and OpenVINO, .xml for OpenVINO, .pte for ExecuTorch,
            .tflite for LiteRT.
        runtime: one of ALL_RUNTIMES; None takes the first that opens the file.
        threads: CPU threads; None takes all cores.
        precision: f32 or bf16, of the float layers; only OpenVINO has bf16.
        profile: record the time of each layer.
    Raises:
        UserError: file or runtime does not exist, or the runtime is not installed or cannot read
            the file.
    """
    check_numbers(threads=threads)
    file = Path(path)
    runtime = _runtime_for(file, runtime, precision)
    threads = threads or available_cpus()
    weights = file.with_suffix(".bin") if file.suffix.lower() == ".xml" else None
    size_bytes = file.stat().st_size + (weights.stat().st_size if weights else 0)
    start = _START[runtime]
    require(runtime)
    try:
        started = start(file, threads, precision=precision, profile=profile)
    except UserError:
        raise
    except Exception as error:  # runtimes raise types of their own; the text says what is wrong
        reason = one_line(error)[:200]
        raise UserError(f"{runtime} cannot open {file} ({reason}); export it again") from error
    if started.float_layers:
        warnings.warn(
            f"{file.name}: {listed(started.float_layers)} run in float, because this CPU's int8 "
            "kernels get them wrong",
            KernelWarning,
            stacklevel=2,
        )
    metadata, contract = read_metadata(started.metadata, file)
    run = started.for_any_batch()
    if not metadata:
        run, contract = adapt_foreign(run, started.ports, file.name)
    return RuntimeModel(
        runtime, threads, contract, metadata, size_bytes, run, started.native,
        started.float_layers,
    )  # fmt: skip


def read_metadata(text: str, source: Path | bytes) -> tuple[dict[str, Any], InputContract]:
    """Return the metadata of an exported file, and the contract in it, of which nothing is trusted.

    Args:
        text: JSON; empty for files of other tools.
        source: the file, for the error.
    Raises:
        UserError: it is damaged.
    """
    try:
        metadata = json.loads(text) if text else {}
        if not isinstance(metadata, dict):
            raise ValueError(f"a {type(metadata).__name__}")
        return metadata, InputContract.from_record(metadata.get("contract") or {})
    except (ValueError, TypeError, RecursionError, UserError) as error:
        name = source if isinstance(source, Path) else "the model"
        raise UserError(
            f"{name} has damaged metadata ({one_line(error)[:150]}); export it again"
        ) from error


def _runtime_for(file: Path, runtime: str | None, precision: str) -> str:
    """Return the runtime that was asked for, or a file's default one.

    Raises:
        UserError: file, runtime or weights do not exist; or file, runtime and precision do not fit.
    """
    if not file.is_file() or file.suffix.lower() not in SUFFIXES:
        what = "is no .onnx, .xml, .pte or .tflite" if file.is_file() else "does not exist"
        raise UserError(f"{file} {what}; give a file that `export` has written")
    suffix = file.suffix.lower()
    is_ir = suffix == ".xml"
    runtime = runtime or DEFAULTS[suffix]
    if runtime not in ALL_RUNTIMES:
        raise UserError(f"runtime must be one of {', '.join(ALL_RUNTIMES)}, got {runtime}")
    if runtime not in runtimes_of(suffix):
        raise UserError(f"{file} is {_FORMATS[suffix]}")
    if precision not in ("f32", "bf16") or (precision == "bf16" and runtime != "openvino"):
        raise UserError(f"{runtime} has no precision {precision}; take f32")
    if is_ir and not (weights := file.with_suffix(".bin")).is_file():
        raise UserError(f"{file} has no weights: {weights.name} is missing beside it; keep both")
    return runtime


def runtimes_of(suffix: str) -> tuple[str, ...]:
    """Return the runtimes that open a file with this suffix."""
    return RUNTIMES if suffix.lower() == ".onnx" else (DEFAULTS[suffix.lower()],)


def available_cpus() -> int:
    """Return the number of CPUs that this process may use; of all, where the system cannot tell."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def listed(names: Sequence[str]) -> str:
    """Return the number of layers, and the first of them by name."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(names)} layer(s) ({', '.join(names[:NAMED])}{more})"


def require(*packages: str) -> None:
    """Raise UserError if one of the packages of the extras, or a runtime's, is missing."""
    from importlib.util import find_spec

    for package in (_PACKAGES.get(name, name) for name in packages):
        if find_spec(package) is None:
            extra = _EXTRAS.get(package, "export")
            raise UserError(f"{package} is not installed; pip install 'gan-slimming[{extra}]'")


def start_onnxruntime(
    source: Path | bytes, threads: int, *, precision: str = "f32", profile: bool = False
) -> Started:
    """Load a file's path or its content in ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = profile
    if profile:  # into a file, which layer_times reads and removes
        options.profile_file_prefix = os.path.join(tempfile.gettempdir(), "gan-slimming-profile")
    content = source if isinstance(source, bytes) else str(source)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(*inputs: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])

    ports = tuple(
        Port(
            entry.name, tuple(n if isinstance(n, int) else None for n in entry.shape), _dtype(entry)
        )
        for entry in session.get_inputs()
    )
    metadata = session.get_modelmeta().custom_metadata_map.get(KEY, "")
    return Started(run, session, metadata, ports=ports)


def _dtype(entry: Any) -> np.dtype:
    """Return NumPy's type for an ONNX input such as 'tensor(float16)'."""
    name = entry.type.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(name, name))


def start_openvino(
    source: Path | bytes, threads: int, *, precision: str = "f32", profile: bool = False,
    kernels: Literal["checked", "unchecked", "float"] = "checked",
) -> Started:  # fmt: skip
    """Load a file's path or its content in OpenVINO, on the CPU.

    OpenVINO's default is bf16 for float layers where the CPU has it, so the precision is set.

    Args:
        kernels: checked finds layers that this CPU's int8 kernels get wrong, and computes them in
            float; unchecked takes int8 kernels throughout, float none.
    """
    logging.getLogger("openvino").setLevel(logging.ERROR)
    model = openvino_int8.read_model(source)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "PERF_COUNT": profile,
    }
    metadata = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else ""
    if not metadata and model.has_rt_info(["framework", KEY]):  # as its ONNX reader stores metadata
        metadata = model.get_rt_info(["framework", KEY]).astype(str)
    contract = read_metadata(metadata, source)[1] if metadata else None
    wrong: tuple[str, ...] = ()
    if kernels == "checked":
        from gan_slimming.runtime.kernel_verdicts import open_request

        request, wrong = open_request(model, source, settings, contract)
    elif kernels == "float":
        settings[openvino_int8.INT8_KERNELS] = False
        request = openvino_int8.compile_request(openvino_int8.all_in_float(model), settings)
    else:
        request = openvino_int8.compile_request(model, settings)

    def run(*inputs: np.ndarray) -> np.ndarray:
        request.infer(list(inputs))
        return request.get_output_tensor(0).data.copy()

    ports = tuple(
        Port(
            next(iter(port.names), "input"),
            tuple(None if n.is_dynamic else n.get_length() for n in port.partial_shape),
            port.element_type.to_dtype(),
        )
        for port in model.inputs
    )
    return Started(run, request, metadata, wrong, ports)


_START: dict[str, Callable[..., Started]] = {
    "onnxruntime": start_onnxruntime,
    "openvino": start_openvino,
    "executorch": start_executorch,
    "litert": start_litert,
}
