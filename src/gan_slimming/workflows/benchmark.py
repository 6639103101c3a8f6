"""The command benchmark: models and runtimes side by side, in one run on this machine."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gan_slimming.config import WeightsFile, check_numbers
from gan_slimming.errors import UserError
from gan_slimming.export.benchmark_jobs import (
    CEILING,
    PRECISIONS,
    TORCH,
    Job,
    Origin,
    Plan,
    ceiling_jobs,
    exported_jobs,
    generator_jobs,
    load,
)
from gan_slimming.export.placement import is_exported
from gan_slimming.runtime.latency import Latency, measure
from gan_slimming.runtime.sessions import ALL_RUNTIMES, RUNTIMES, available_cpus, require
from gan_slimming.serialization.provenance import environment

TABLE_WIDTH = 110
"""Width of the table in characters, if stderr is no terminal."""
SHOWN = 20
"""Most layers printed per model; the JSON lists all."""


def benchmark(
    models: Sequence[str],
    *,
    size: int = 256,
    threads: int | None = None,
    runtimes: Sequence[str] = ("torch", *RUNTIMES),
    precisions: Sequence[str] = ("f32", "int8"),
    rounds: int = 10,
    layers: bool = False,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Time one image in every model, in all runtimes and precisions that it has.

    Args:
        models: MODELs, including exported files.
        size: height and width of the input image in pixels; batch 1.
        threads: number of CPU threads of each model; None takes all cores.
        runtimes: of torch, torch.compile, onnxruntime, openvino, executorch.
        precisions: of f32, bf16, int8, int8-bf16. torch runs f32, for a quantised student with fake
            quantisers. bf16 is for OpenVINO; int8 needs a quantised student.
        rounds: number of turns of each model, three calls a turn.
        layers: whether to time each layer, too, in runtimes that report it.
        weights, factory, arguments: as for resolve_model.
    Returns:
        size, threads, environment, ceilings (precision -> gmacs_per_second of wide convolutions
        alone, if OpenVINO is measured) and measurements: model, runtime, precision, latency_ms,
        spread, best_ms, cpu_ms, runs, size_bytes, macs, gmacs_per_second, of_ceiling, peak_bytes,
        float_layers, and layers.
    Raises:
        UserError: a runtime or precision is unknown, a model cannot be loaded, or nothing is left
            to measure.
    """
    check_numbers(size=size, threads=threads, rounds=rounds)
    _check(runtimes, precisions, rounds)
    threads = threads or available_cpus()
    origin = Origin(weights, factory, dict(arguments) if arguments else None)
    plan = Plan(size, threads, tuple(runtimes), tuple(precisions), layers, origin)
    with tempfile.TemporaryDirectory(prefix="gan-slimming-") as folder:
        jobs = _jobs(models, plan, folder)
        results = measure(jobs, load, rounds=rounds)
    rows = [_row(job, *result) for job, result in zip(jobs, results, strict=True)]
    ceilings = {r["precision"]: r["gmacs_per_second"] for r in rows if r["model"] == CEILING}
    measured = [row for row in rows if row["model"] != CEILING]
    for row in measured:
        rate, most = row["gmacs_per_second"], ceilings.get(row["precision"].removesuffix("-bf16"))
        row["of_ceiling"] = rate / most if rate and most else None
    return {"size": size, "threads": threads, "environment": environment(), "ceilings": ceilings,
            "measurements": measured}  # fmt: skip


def _jobs(models: Sequence[str], plan: Plan, folder: str) -> list[Job]:
    """Return the jobs of all models, and of OpenVINO's ceiling; raise UserError for none."""
    jobs: list[Job] = []
    for number, model in enumerate(models):
        find = exported_jobs if is_exported(model) else generator_jobs
        jobs += find(model, plan, _made(folder, str(number)))
    if not jobs:
        raise UserError("nothing to measure: no model has these runtimes and precisions")
    if "openvino" in plan.runtimes:
        jobs += ceiling_jobs(plan, _made(folder, "ceiling"))
    return jobs


def _row(job: Job, latency: Latency, report: dict[str, Any]) -> dict[str, Any]:
    times = asdict(latency)
    return {
        "model": job.model,
        "runtime": job.runtime,
        "precision": job.precision,
        "latency_ms": latency.median_ms,
        "spread": latency.spread_ms,
        **{key: times[key] for key in ("best_ms", "cpu_ms", "runs")},
        "size_bytes": job.size_bytes,
        "macs": job.macs,
        "gmacs_per_second": job.macs / latency.median_ms / 1e6 if job.macs else None,
        **report,
    }


def _made(folder: str, name: str) -> Path:
    place = Path(folder, name)
    place.mkdir()
    return place


def _check(runtimes: Sequence[str], precisions: Sequence[str], rounds: int) -> None:
    for given, known, flag in ((runtimes, (*TORCH, *ALL_RUNTIMES), "runtimes"),
                               (precisions, PRECISIONS, "precisions")):  # fmt: skip
        if unknown := [name for name in given if name not in known]:
            raise UserError(f"--{flag} must be of {', '.join(known)}; got {unknown[0]!r}")
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, got {rounds}")
    for runtime in runtimes:
        if runtime in ALL_RUNTIMES:
            require(*(["onnx"] if runtime in RUNTIMES else []), runtime)


def print_table(report: dict[str, Any]) -> None:
    """Print the measurements as a table on stderr, then the machine's ceiling."""
    console = Console(stderr=True, width=None if sys.stderr.isatty() else TABLE_WIDTH)
    title = f"one image of {report['size']}x{report['size']} on {report['threads']} thread(s)"
    table = Table("model", "runtime", "precision", title=title, title_justify="left")
    for heading in ("ms", "spread", "cpu ms", "bytes", "GMAC/s"):
        table.add_column(heading, justify="right")
    for row in report["measurements"]:
        numbers = (f"{row[key]:.2f}" for key in ("latency_ms", "spread", "cpu_ms"))
        rate = f"{row['gmacs_per_second']:.0f}" if row["gmacs_per_second"] else ""
        size = f"{row['size_bytes']:,}" if row["size_bytes"] else ""
        table.add_row(row["model"], row["runtime"], row["precision"], *numbers, size, rate)
    console.print(table)
    for precision, rate in report["ceilings"].items():
        console.print(f"{CEILING} in OpenVINO: {rate:.0f} GMAC/s in {precision}", highlight=False)
    for row in report["measurements"]:
        _print_layers(console, row)


def _print_layers(console: Console, row: dict[str, Any]) -> None:
    if row.get("layers"):
        console.print(f"{row['model']} in {row['runtime']}, {row['precision']}:", highlight=False)
    for layer in row.get("layers", [])[:SHOWN]:
        console.print(
            f"{layer['latency_ms']:8.3f} ms {layer['kind']:<20} {layer['kernel']:<24} "
            f"{layer['name']}",
            highlight=False,
        )
    if row["precision"].startswith("int8") and row.get("float_layers"):
        console.print(f"not in int8: {', '.join(row['float_layers'])}", highlight=False)
