"""The record of a row: its last generator, judged on images that no stage has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from gan_slimming.experiments.methods import Method
from gan_slimming.experiments.records import FORMAT
from gan_slimming.experiments.table import Made, Table
from gan_slimming.serialization.provenance import fingerprint
from gan_slimming.workflows.benchmark import benchmark
from gan_slimming.workflows.evaluate import evaluate

COSTS = ("macs", "parameters", "size_bytes", "peak_activation_bytes")


def record_of(table: Table, method: Method, made: Sequence[Made]) -> dict[str, Any]:
    """Judge what the last stage made, and return the row's record."""
    report, system = _judged(table, made[-1]), table.system
    told = report["models"][0]
    threads = [m.settings["threads"] for m in made if "threads" in m.settings]
    length = f"{system.minutes:g} minutes" if system.minutes else f"{system.steps:,} steps"
    return {
        "format": FORMAT,
        "experiment": system.name,
        "scale": system.scale,
        "row": method.name,
        "summary": method.summary,
        "command": table.command,
        "length": length,
        "budget": ", ".join(f"{value} of {kind}" for kind, value in system.budget.items()),
        "teacher": _teacher(table),
        "cost": {key: told[key] for key in COSTS},
        "results": [_result(row, method.name) for row in report["results"]],
        "latency": _latency(table, made[-1]) if system.latency else None,
        "verdict": told["verdict"],
        "images": report["images"],
        "skipped": len(report["skipped"]),
        "data": {"train": system.data, "test": system.test, "targets": system.targets},
        "stages": _stages(method, made),
        "steps": sum(m.steps for m in made),
        "seconds": round(sum(m.seconds for m in made), 1),
        "seed": system.seed,
        "threads": next(iter(threads), report["environment"]["threads"]),
        "environment": report["environment"],
        "date": date.today().isoformat(),
        "note": "",
    }


def _judged(table: Table, made: Made) -> dict[str, Any]:
    """Return the report of `evaluate`."""
    system, noise = table.system, table.takes_noise
    data, size, count = (None, None, system.count) if noise else (table.test, table.size, None)
    return evaluate(
        [str(made.generator)], data, teacher=table.teacher, targets=table.test_targets,
        metrics=list(system.metrics), size=size, count=count, seed=system.seed,
        factory=table.factory, device=str(system.settings.get("device", "auto")),
    )  # fmt: skip


def _latency(table: Table, made: Made) -> dict[str, Any]:
    """Return the time of one image in OpenVINO."""
    precision = "int8" if made.settings.get("bits") else "f32"
    report = benchmark(
        [str(made.generator)], size=table.size, runtimes=("openvino",), precisions=(precision,),
        factory=table.factory,
    )  # fmt: skip
    row = report["measurements"][0]
    keys = ("runtime", "precision", "latency_ms", "best_ms", "cpu_ms", "spread")
    return {key: row[key] for key in keys} | {"threads": report["threads"]}


def _teacher(table: Table) -> dict[str, Any]:
    """Return what the record says of the teacher."""
    system = table.system
    return {
        "generator": system.generator,
        "arguments": dict(system.arguments),
        "weights": Path(system.weights).name if system.weights else "random",
        "sha256": fingerprint(table.teacher),
        **table.costs(),
    }


def _stages(method: Method, made: Sequence[Made]) -> list[dict[str, Any]]:
    """Return what each stage was, and what it took."""
    return [
        {"make": s.make, "share": s.share, "budget": s.budget, "steps": m.steps,
         "seconds": m.seconds, "settings": m.settings}
        for s, m in zip(method.stages, made, strict=True)
    ]  # fmt: skip


def _result(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return one figure of `evaluate`, without the paths of this machine."""
    protocol = dict(row["protocol"])
    for key in ("data", "against", "targets"):
        if protocol.get(key) is not None:
            protocol[key] = Path(str(protocol[key])).name
    return {**row, "model": name, "protocol": protocol}
