"""The tables and key figures of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from gan_slimming.metrics.catalogue import METRICS
from gan_slimming.reports.figures import QUALITY
from gan_slimming.reports.page import Card, Table
from gan_slimming.reports.run_data import RunData
from gan_slimming.reports.svg import duration, number

COSTS = {"macs": "MACs", "parameters": "parameters", "size_bytes": "bytes"}


def lead(summary: Mapping[str, Any]) -> str:
    """Return the result of a run in one sentence."""
    needed = [f"{side}{key}" for key in ("macs", "size_bytes") for side in ("teacher_", "")]
    if not all(summary.get(key) for key in needed):
        return "Finished."
    work = summary["teacher_macs"] / summary["macs"]
    size = summary["teacher_size_bytes"] / summary["size_bytes"]
    bits = f"in {summary['bits']} bits" if summary.get("bits") else "in floating point"
    found = f"{work:.1f} times less work, {size:.1f} times fewer bytes, {bits}."
    if target := summary.get("target"):
        found += f" {target['text'][:1].upper()}{target['text'][1:]}"
    if verdict := summary.get("verdict"):
        found += f" Its outputs are {verdict}."
    return found


def cards(data: RunData) -> list[Card]:
    """Return the key figures of a run, finished or under way."""
    summary, found = data.summary, []
    for key, name in COSTS.items():
        if summary.get(key) and summary.get(f"teacher_{key}"):
            before, after = summary[f"teacher_{key}"], summary[key]
            detail = f"{number(_short(before))} to {number(_short(after))}"
            found.append(Card(f"{before / after:.1f} ×", f"fewer {name}", detail))
    latest = summary or _latest(data)
    for key in ("lpips", "psnr"):
        if key in latest:
            title, sense = QUALITY[key]
            found.append(Card(f"{latest[key]:.3g}", title, sense))
    seconds = summary.get("seconds") or (data.metrics[-1].get("seconds") if data.metrics else None)
    if seconds:
        unit, size = duration(seconds)
        found.append(Card(f"{seconds / size:.3g} {unit}", "training", f"{data.steps:,} steps"))
    return found


def quality_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Return the table of mean distances to the teacher, each with its definition."""
    rows = []
    for name, metric in METRICS.items():
        value = summary.get(name)
        if metric.needs == "teacher" and isinstance(value, float):
            unit = f", {metric.unit}" if metric.unit else ""
            told = f"{name} ({metric.direction} is better{unit}): {metric.meaning}"
            rows.append([told, f"{value:.4g}"])
    head = ["distance to the teacher", "mean"]
    return [Table("Means over all held-out images", head, rows)] if rows else []


def cost_tables(data: RunData) -> list[Table]:
    """Return the tables of costs of teacher and student, in total and by layer."""
    summary, rows = data.summary, []
    for key, name in COSTS.items():
        if summary.get(key) and summary.get(f"teacher_{key}"):
            before, after = summary[f"teacher_{key}"], summary[key]
            rows.append([name, f"{before:,}", f"{after:,}", f"{after / before:.2%}"])
    tables = [Table("", ["", "teacher", "student", "share"], rows)] if rows else []
    teacher, student = (
        {layer["name"]: layer for layer in data.layers.get(side, ())}
        for side in ("teacher", "student")
    )
    layers = [_layer_row(name, teacher, student) for name in {**teacher, **student}]
    if layers:
        head = ["layer", "kind", "teacher's MACs", "student's MACs", "parameters", "student's"]
        tables.append(Table("By layer", head, layers, folded=True))
    return tables


def channel_tables(data: RunData) -> list[Table]:
    """Return the table of channels kept in every group."""
    totals = data.record.get("channels") or {}
    if data.kept is None or not totals:
        return []
    rows = [
        [name, f"{total:,}", f"{len(data.kept.get(name, ())):,}",
         f"{len(data.kept.get(name, ())) / max(1, total):.0%}"]
        for name, total in totals.items()
    ]  # fmt: skip
    return [Table("All channel groups", ["group", "teacher", "kept", "share"], rows, folded=True)]


def range_tables(data: RunData) -> list[Table]:
    """Return the table of activation and weight ranges of every quantised layer."""
    rows = [
        [
            row["layer"],
            f"{row['low']:.3g} to {row['high']:.3g}",
            f"{row['seen_low']:.3g} to {row['seen_high']:.3g}",
            f"{row['clipped_low']:.3%}",
            f"{row['clipped_high']:.3%}",
            f"{row['weight_low']:.3g} to {row['weight_high']:.3g}",
            f"{row['bits']} / {row['weight_bits'] or '–'}",
            f"{row['weight_zeros']:.1%}",
        ]
        for row in data.ranges
    ]
    head = ["layer", "activations: range", "observed", "clipped below", "above", "weights",
            "bits", "weights at 0"]  # fmt: skip
    return [Table("All quantised layers", head, rows, folded=True)] if rows else []


def provenance_tables(data: RunData) -> list[Table]:
    """Return the tables of the run's origin and settings."""
    record, environment = data.record, data.record.get("environment") or {}
    generator, settings = record.get("generator") or {}, data.run
    budget, target = settings.budget.kind, settings.target.kind
    versions = environment.get("versions") or {}
    rows = [
        ["run", data.name],
        ["teacher", str(generator.get("name"))],
        ["teacher's file", str(generator.get("weights") or "–")],
        ["teacher's SHA-256", str(generator.get("sha256") or "–")],
        ["images", str(record.get("data") or "noise")],
        ["targets", str(record.get("targets") or "the teacher's outputs")],
        ["budget", f"{budget} {getattr(settings.budget, budget)}" if budget else "–"],
        ["target", f"{target} {settings.target.value:g}" if target else "–"],
        ["distance", str(record.get("distance"))],
        ["steps", data.progress],
        ["seed", str(settings.seed)],
        ["commit", str(environment.get("commit") or "–")],
        ["processor", str(environment.get("processor") or "–")],
        ["threads", str(environment.get("threads", "–"))],
        ["GPU", str(environment.get("gpu") or "no GPU")],
        ["versions", ", ".join(f"{name} {version}" for name, version in versions.items())],
    ]
    everything = yaml.safe_dump(dict(record), sort_keys=False, allow_unicode=True)
    lines = [line.partition(":") for line in everything.splitlines()]
    settings_rows = [[f"{key}".replace("  ", "\u2003"), value.strip()] for key, _, value in lines]
    return [
        Table("", ["", ""], rows, prose=True),
        Table(
            "All settings (config.yaml)",
            ["setting", "value"],
            settings_rows,
            folded=True,
            prose=True,
        ),
    ]


def _layer_row(name: str, teacher: Mapping[str, Any], student: Mapping[str, Any]) -> list[str]:
    sides = teacher.get(name), student.get(name)
    kind = next(layer["kind"] for layer in sides[::-1] if layer)
    cells = [[f"{layer[key]:,}" if layer else "–" for layer in sides]
             for key in ("macs", "parameters")]  # fmt: skip
    return [name, kind.removeprefix("Slim"), *cells[0], *cells[1]]


def _latest(data: RunData) -> Mapping[str, Any]:
    tracked = [row for row in data.metrics if "psnr" in row or "lpips" in row]
    return tracked[-1] if tracked else {}


def _short(value: float) -> float:
    return float(f"{value:.3g}")
