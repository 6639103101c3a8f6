"""benchmark: models and runtimes side by side, in one run, on this machine."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from gan_slimming.config import UserError
from gan_slimming.exporters.graph import is_quantized
from gan_slimming.latency import measure
from gan_slimming.metrics.complexity import count
from gan_slimming.models.registry import spec_of
from gan_slimming.runtimes import RUNTIMES, executed_layers, layer_times, open_runtime, require
from gan_slimming.workflows.exported import INT8_FORM, is_exported, write_for
from gan_slimming.workflows.models import model_file, resolve_model
from gan_slimming.workflows.run_folder import environment

TORCH = ("torch", "torch.compile")
PRECISIONS = ("f32", "bf16", "int8")
TABLE_WIDTH = 110


@dataclass(frozen=True)
class Job:
    """One candidate, as its own process is told of it."""

    model: str
    runtime: str
    precision: str
    size: int
    threads: int
    file: str
    """An exported file; for torch the MODEL itself."""
    weights: str | None
    factory: str | None
    layers: bool
    macs: int | None
    size_bytes: int | None


def benchmark(
    models: Sequence[str],
    *,
    size: int = 256,
    threads: int | None = None,
    runtimes: Sequence[str] = ("torch", *RUNTIMES),
    precisions: Sequence[str] = ("f32", "int8"),
    rounds: int = 10,
    layers: bool = False,
    weights: str | Path | None = None,
    factory: str | None = None,
) -> dict[str, Any]:
    """Time of one picture for every model in every runtime and precision that it has.

    Args:
        models: MODELs, exported files among them.
        size: height and width in pixels; batch 1.
        threads: CPU threads of every candidate; None takes all cores.
        runtimes: of torch, torch.compile, onnxruntime, openvino.
        precisions: of f32, bf16, int8. torch runs f32, a quantised student with its fake
            quantisers; bf16 is OpenVINO's; int8 needs a quantised student.
        rounds: turns of each candidate, three calls a turn.
        layers: also the time of each layer, where the runtime is OpenVINO.
        weights, factory: as for resolve_model.
    Returns:
        size, threads, environment and measurements: model, runtime, precision, latency_ms, spread,
        best_ms, cpu_ms, runs, size_bytes, macs, gmacs_per_second, peak_bytes, and layers.
    Raises:
        UserError: unknown runtimes or precisions, a model that cannot be loaded, no work.
    """
    _check(runtimes, precisions, rounds)
    threads = threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="gan-slimming-") as folder:
        jobs: list[Job] = []
        for number, model in enumerate(models):
            place = Path(folder, str(number))
            place.mkdir()
            plan = _exported_jobs if is_exported(model) else _generator_jobs
            jobs += plan(
                model, size, threads, runtimes, precisions, layers, place, weights, factory
            )
        if not jobs:
            raise UserError("nothing to measure: no model has these runtimes and precisions")
        results = measure(jobs, load, rounds=rounds)
    rows = []
    for job, (latency, report) in zip(jobs, results, strict=True):
        rate = job.macs / latency.median_ms / 1e6 if job.macs else None
        rows.append(
            {
                "model": job.model,
                "runtime": job.runtime,
                "precision": job.precision,
                "latency_ms": latency.median_ms,
                "spread": latency.spread_ms,
                **{k: v for k, v in asdict(latency).items() if k in ("best_ms", "cpu_ms", "runs")},
                "size_bytes": job.size_bytes,
                "macs": job.macs,
                "gmacs_per_second": rate,
                **report,
            }
        )
    return {"size": size, "threads": threads, "environment": environment(), "measurements": rows}


def load(job: Job) -> tuple[Callable[[], Any], Callable[[], dict[str, Any]]]:
    """In the candidate's own process: what is timed, and what is told afterwards."""
    torch.set_num_threads(job.threads)
    if job.runtime in TORCH:
        module = resolve_model(job.file, job.weights, factory=job.factory)
        picture = torch.zeros(1, spec_of(module).contract.channels, job.size, job.size)
        function: Any = torch.compile(module) if job.runtime == "torch.compile" else module

        def infer() -> Any:
            with torch.inference_mode():
                return function(picture)

        return infer, dict
    precision = "bf16" if job.precision == "bf16" else "f32"
    profile = job.layers and job.runtime == "openvino"
    opened = open_runtime(job.file, job.runtime, job.threads, precision=precision, profile=profile)
    generator = np.random.default_rng(0)
    channels = opened.contract.channels
    values = generator.random((1, channels, job.size, job.size), np.float32)
    contract = opened.contract
    pixels = contract.low + (contract.high - contract.low) * values

    def report() -> dict[str, Any]:
        if job.runtime != "openvino":
            return {}
        found = [layer for layer in executed_layers(opened.native) if layer.computes]
        told: dict[str, Any] = {"float_layers": [n.name for n in found if not n.int8]}
        return told | ({"layers": layer_times(opened.native)} if profile else {})

    return lambda: opened(pixels), report


def _generator_jobs(
    model: str, size: int, threads: int, runtimes: Sequence[str], precisions: Sequence[str],
    layers: bool, folder: Path, weights: str | Path | None, factory: str | None,
) -> list[Job]:  # fmt: skip
    """A torch generator, exported for each runtime where it needs to be."""
    module = resolve_model(model, weights, factory=factory)
    macs = _macs(module, size)
    file = model_file(model) or (Path(weights) if weights else None)
    common = {"model": model, "size": size, "threads": threads, "macs": macs, "layers": layers,
              "weights": str(weights) if weights else None, "factory": factory}  # fmt: skip
    quantized = is_quantized(module)
    jobs = []
    for runtime in runtimes:
        for precision in precisions:
            if runtime in TORCH:
                if precision == "f32":
                    held = file.stat().st_size if file else None
                    jobs.append(Job(runtime=runtime, precision="f32", file=model, size_bytes=held,
                                    **common))  # fmt: skip
                continue
            if (precision == "int8" and not quantized) or (precision, runtime) == (
                "bf16",
                "onnxruntime",
            ):
                continue
            form = INT8_FORM[runtime] if precision == "int8" else "float"
            path = write_for(module, runtime, form, folder)
            jobs.append(Job(runtime=runtime, precision=precision, file=str(path),
                            size_bytes=path.stat().st_size, **common))  # fmt: skip
    return jobs


def _exported_jobs(
    model: str, size: int, threads: int, runtimes: Sequence[str], precisions: Sequence[str],
    layers: bool, folder: Path, weights: str | Path | None, factory: str | None,
) -> list[Job]:  # fmt: skip
    """An exported file as it is, in every runtime that reads it and is meant for its form."""
    jobs = []
    for runtime in (r for r in runtimes if r in RUNTIMES):
        if runtime == "onnxruntime" and Path(model).suffix.lower() == ".xml":
            continue
        opened = open_runtime(model, runtime, 1)
        form = opened.metadata.get("form", "float")
        if form == "integer" and runtime == "openvino":
            continue
        wanted = [p for p in precisions if p in (("f32", "bf16") if form == "float" else ("int8",))]
        macs = int(opened.metadata.get("macs_per_pixel", 0) * size**2) or None
        for precision in wanted:
            if (precision, runtime) != ("bf16", "onnxruntime"):
                jobs.append(Job(model, runtime, precision, size, threads, model, None, None, layers,
                                macs, opened.size_bytes))  # fmt: skip
    return jobs


def _macs(module: nn.Module, size: int) -> int:
    example = torch.zeros(1, spec_of(module).contract.channels, size, size)
    return count(module, (example,)).macs


def _check(runtimes: Sequence[str], precisions: Sequence[str], rounds: int) -> None:
    for given, known, flag in ((runtimes, (*TORCH, *RUNTIMES), "runtimes"),
                               (precisions, PRECISIONS, "precisions")):  # fmt: skip
        if unknown := [name for name in given if name not in known]:
            raise UserError(f"--{flag} must be of {', '.join(known)}; got {unknown[0]!r}")
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, got {rounds}")
    for runtime in runtimes:
        if runtime in RUNTIMES:
            require("onnx", runtime)


def print_table(report: dict[str, Any]) -> None:
    """The measurements as a table, on stderr."""
    console = Console(stderr=True, width=None if sys.stderr.isatty() else TABLE_WIDTH)
    title = f"one picture of {report['size']}x{report['size']} on {report['threads']} thread(s)"
    table = Table("model", "runtime", "precision", title=title, title_justify="left")
    for heading in ("ms", "spread", "cpu ms", "bytes", "GMAC/s"):
        table.add_column(heading, justify="right")
    for row in report["measurements"]:
        numbers = (f"{row[key]:.2f}" for key in ("latency_ms", "spread", "cpu_ms"))
        rate = f"{row['gmacs_per_second']:.0f}" if row["gmacs_per_second"] else ""
        size = f"{row['size_bytes']:,}" if row["size_bytes"] else ""
        table.add_row(row["model"], row["runtime"], row["precision"], *numbers, size, rate)
    console.print(table)
    for row in report["measurements"]:
        for layer in row.get("layers", [])[:20]:
            console.print(
                f"{row['precision']:>5} {layer['latency_ms']:8.3f} ms {layer['kind']:<16} "
                f"{layer['kernel']:<28} {layer['name']}",
                highlight=False,
            )
        if row["precision"] == "int8" and row.get("float_layers"):
            console.print(f"not in int8: {', '.join(row['float_layers'])}", highlight=False)
