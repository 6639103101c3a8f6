"""The command benchmark: models and runtimes side by side, in one run on this machine."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan_slimming.config import WeightsFile, check_numbers
from gan_slimming.errors import UserError
from gan_slimming.evaluation.device_quality import quality_of, read_photos
from gan_slimming.export.benchmark_jobs import (
    CEILING,
    PRECISIONS,
    Job,
    Matrix,
    Origin,
    Plan,
    ceiling_jobs,
    exported_jobs,
    generator_jobs,
    load,
)
from gan_slimming.export.drawn_images import drawn_images
from gan_slimming.export.offers import chosen_runtimes
from gan_slimming.export.placement import is_exported
from gan_slimming.models.registry import infer_spec
from gan_slimming.reports.device_table import HEAD, cells_of, check_table, notes_of, write_table
from gan_slimming.runtime.latency import UNKNOWN, Latency, measure
from gan_slimming.runtime.openvino_int8 import kinds_of_cpu
from gan_slimming.runtime.sessions import available_cpus
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.resolve import resolve_model

TABLE_WIDTH = 110
"""Width of the table in characters, if stderr is no terminal."""
MATRIX_WIDTH = 160
"""The same for a device table."""
SHOWN = 20
"""Most layers printed per model; the JSON lists all."""


class QualityWarning(UserWarning):
    """A warning that quality could not be measured."""


def benchmark(
    models: Sequence[str],
    *,
    size: int = 256,
    threads: int | None = None,
    runtimes: Sequence[str] | None = None,
    precisions: Sequence[str] = ("f32", "int8"),
    rounds: int = 10,
    layers: bool = False,
    matrix: bool = False,
    data: str | Path | None = None,
    count: int = 8,
    reference: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Time one image in every model, in all runtimes and precisions that it has.

    Args:
        models: MODELs, including exported files.
        size: height and width of the input image in pixels; batch 1.
        threads: number of CPU threads of each model; None takes all cores.
        runtimes: names of export.offers.OFFERS; None takes torch, onnxruntime and openvino, or all
            installed for a matrix.
        precisions: of f32, bf16, int8, int8-bf16. torch runs f32, for a quantised student with fake
            quantisers. bf16 is for OpenVINO; int8 needs a quantised student.
        rounds: number of turns of each model, three calls a turn.
        layers: whether to time each layer, too, in runtimes that report it.
        matrix: whether to make a device table: layers in int8, quality in each runtime, and a row
            with the reason where something does not run.
        data, count: for a matrix: folder of photos, and how many of them (or of noise vectors).
        reference: for a matrix: MODEL whose images in torch are compared with; None takes each
            generator's own, and none for exported files.
        output, overwrite: file of the table (.md, .html, .json), and whether it may be replaced.
        weights, factory, arguments: as for resolve_model.
    Returns:
        size, threads, environment, ceilings (precision -> gmacs_per_second of wide convolutions
        alone, if OpenVINO is measured) and measurements: model, runtime, precision, latency_ms,
        spread, best_ms, cpu_ms, runs, size_bytes, macs, gmacs_per_second, of_ceiling, peak_bytes,
        float_layers, and layers. A matrix adds machine, images, reference and output, and to each
        measurement int8_layers, lpips, psnr and problem.
    Raises:
        UserError: a runtime or precision is unknown, a model cannot be loaded, or nothing is left
            to measure.
    """
    check_numbers(size=size, threads=threads, rounds=rounds, count=count)
    _check(precisions, rounds, matrix=matrix, given=(data, reference, output))
    file = check_table(output, overwrite)
    threads = threads or available_cpus()
    origin = Origin(weights, factory, dict(arguments) if arguments else None)
    photos = read_photos(data, size, count) if data is not None else None
    asked = Matrix(photos, count) if matrix else None
    chosen = chosen_runtimes(runtimes, matrix=matrix)
    plan = Plan(size, threads, chosen, tuple(precisions), layers, origin, asked)
    with tempfile.TemporaryDirectory(prefix="gan-slimming-") as folder:
        jobs = _jobs(models, plan, folder)
        rows = _measured(jobs, rounds)
    ceilings = {r["precision"]: r["gmacs_per_second"] for r in rows if r["model"] == CEILING}
    measured = [row for row in rows if row["model"] != CEILING]
    for row in measured:
        rate, most = row["gmacs_per_second"], ceilings.get(row["precision"].removesuffix("-bf16"))
        row["of_ceiling"] = rate / most if rate and most else None
    report = {"size": size, "threads": threads, "environment": environment(), "ceilings": ceilings,
              "measurements": measured}  # fmt: skip
    if asked is not None:
        report |= _judged(measured, asked, reference, plan)
        report["output"] = str(file) if file else None
    if file is not None:
        write_table(file, report)
    return report


def _measured(jobs: Sequence[Job], rounds: int) -> list[dict[str, Any]]:
    """Return a row for each job, in their order; those with a problem are not run."""
    matrix = any(job.plan.matrix for job in jobs)
    runnable = [job for job in jobs if not job.problem]
    results = iter(measure(runnable, load, rounds=rounds, keep_going=matrix))
    found = [(UNKNOWN, {"problem": job.problem}) if job.problem else next(results) for job in jobs]
    return [_row(job, *result) for job, result in zip(jobs, found, strict=True)]


def _judged(
    rows: Sequence[dict[str, Any]], matrix: Matrix, reference: str | None, plan: Plan
) -> dict[str, Any]:
    """Add quality and machine to the rows, in place of their images; return what the report adds.

    Args:
        reference: MODEL to compare with; None takes each generator's own images in torch.
    """
    drawn = [row.pop("images", None) for row in rows]
    expected: dict[str, np.ndarray | None] = {
        row["model"]: images
        for row, images in zip(rows, drawn, strict=True)
        if row["runtime"] == "torch" and images is not None
    }
    if reference is not None:
        common = _in_torch(reference, matrix, plan)
        expected = {row["model"]: common for row in rows}
    machine = machine_of()
    for row, images in zip(rows, drawn, strict=True):
        model = row["model"]
        if images is not None and model not in expected:
            expected[model] = None if is_exported(model) else _in_torch(model, matrix, plan)
        row |= quality_of(images, expected.get(model))
        row |= {"machine": machine["processor"], "problem": row.get("problem")}
    judged = any(row["psnr"] is not None for row in rows)
    if not judged:
        text = (
            "quality was not measured: give photos with --data, and for exported files --reference"
        )
        warnings.warn(text, QualityWarning, stacklevel=3)
    images = len(next(i for i in drawn if i is not None)) if judged else 0
    return {"machine": machine, "images": images, "reference": reference}


def _in_torch(model: str, matrix: Matrix, plan: Plan) -> np.ndarray | None:
    """Return the images of MODEL in torch."""
    origin = plan.origin
    module = resolve_model(model, origin.weights, "cpu", origin.factory, origin.arguments)
    return drawn_images(module, infer_spec(module).contract, matrix.photos, matrix.count)


def machine_of() -> dict[str, Any]:
    """Return processor, kind (of its int8 kernels), cpus, and load over 1, 5 and 15 minutes."""
    kinds = kinds_of_cpu()
    return {
        "processor": environment()["processor"],
        "kind": kinds[-1] if kinds else None,
        "cpus": available_cpus(),
        "load": [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _jobs(models: Sequence[str], plan: Plan, folder: str) -> list[Job]:
    """Return the jobs of all models, and of OpenVINO's ceiling; raise UserError for none."""
    jobs: list[Job] = []
    for number, model in enumerate(models):
        find = exported_jobs if is_exported(model) else generator_jobs
        jobs += find(model, plan, _made(folder, str(number)))
    if not jobs:
        raise UserError("nothing to measure: no model has these runtimes and precisions")
    if "openvino" in plan.runtimes and plan.matrix is None:
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


def _check(
    precisions: Sequence[str], rounds: int, *, matrix: bool, given: tuple[object, ...]
) -> None:
    if unknown := [name for name in precisions if name not in PRECISIONS]:
        raise UserError(f"--precisions must be of {', '.join(PRECISIONS)}; got {unknown[0]!r}")
    if rounds < 1:
        raise UserError(f"rounds must be at least 1, got {rounds}")
    if not matrix and any(value is not None for value in given):
        raise UserError("--data, --reference and --output are for a device table; add --matrix")


def print_matrix(report: dict[str, Any]) -> None:
    """Print a device table on stderr."""
    console = Console(stderr=True, width=None if sys.stderr.isatty() else MATRIX_WIDTH)
    table = Table(*HEAD[:3])
    for heading in HEAD[3:]:
        table.add_column(heading, justify="right")
    for row in report["measurements"]:
        cells = cells_of(row)
        if row["problem"]:
            cells = [*cells[:3], *["–"] * (len(HEAD) - 3)]
        table.add_row(*map(Text, cells))
    console.print(table)
    for row in report["measurements"]:
        if row["problem"]:
            text = f"{row['model']} in {row['runtime']}, {row['precision']}: {row['problem']}"
            console.print(Text(text), soft_wrap=True)
    for note in notes_of(report):
        console.print(Text(note), soft_wrap=True)


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
