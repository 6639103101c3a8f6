"""report: a run folder as one page, finished or not: samples, figures, curves, widths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_slimming.data.image_files import read_picture
from gan_slimming.reports.charts import bars, curves
from gan_slimming.reports.page import Row, write_page
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.resolve import GENERATOR_FILE
from gan_slimming.training.run_folder import CONFIG, read_run

PAGE = "report.html"
QUALITY = {"lpips": "lower is nearer", "psnr": "dB, higher is nearer", "l1": "lower is nearer"}


def report(folder: str | Path, output: str | Path | None = None) -> dict[str, Any]:
    """Write the page of a run folder; one that is under way shows how far it is.

    Args:
        folder: what compress made.
        output: the page; report.html in the folder without it.
    Returns:
        report (path), steps (done), finished, and the run's summary once it is finished.
    Raises:
        UserError: no run folder.
    """
    folder = Path(folder)
    page = Path(output) if output else folder / PAGE
    run, record = read_run(folder)
    metrics = read_metrics(folder)
    file = folder / "summary.json"
    summary = json.loads(file.read_text()) if file.is_file() else {}
    rows = _samples(folder)
    done = int(metrics[-1]["step"]) if metrics else 0
    environment = record["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    write_page(
        page,
        title=f"{record['generator']['name']}, slimmed",
        lead=_lead(summary) if summary else f"{done} of {run.optimisation.steps} steps done.",
        columns=rows[0].name.split("_")[1:] if rows else (),
        rows=rows,
        table=_table(summary),
        charts=[*_curves(metrics), *_widths(folder, record.get("channels", {}))],
        notes=[
            *([_protocol(summary["protocol"])] if "protocol" in summary else []),
            f"{done} steps, seed {run.seed}, on {environment['processor']}, "
            f"{environment['gpu'] or 'no GPU'}; {versions}. All settings are in {CONFIG}.",
        ],
    )
    return {"report": str(page), "steps": done, "finished": bool(summary), **summary}


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl; one that is being written is left out."""
    file = folder / "metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True) if file.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _lead(summary: Mapping[str, Any]) -> str:
    work = summary["teacher_macs"] / summary["macs"]
    size = summary["teacher_size_bytes"] / summary["size_bytes"]
    bits = f"in {summary['bits']} bits" if summary["bits"] else "in floating point"
    return f"{work:.1f} times less work, {size:.1f} times fewer bytes, {bits}."


def _table(summary: Mapping[str, Any]) -> list[list[str]]:
    rows = [["", "teacher", "student"]]
    for key, name in (("macs", "MACs"), ("parameters", "parameters"), ("size_bytes", "bytes")):
        if key in summary:
            rows.append([name, f"{summary[f'teacher_{key}']:,}", f"{summary[key]:,}"])
    for key, sense in QUALITY.items():
        if key in summary:
            rows.append([f"{key} to the teacher ({sense})", "–", f"{summary[key]:.4g}"])
    return rows


def _samples(folder: Path) -> list[Row]:
    """Each sample is a file of pictures side by side; its name lists them: 00_teacher_student."""
    rows = []
    for file in sorted((folder / "samples").glob("*_teacher_student.png")):
        strip = read_picture(file).rgb
        rows.append(Row(file.stem, list(strip.chunk(file.stem.count("_"), dim=2))))
    return rows


def _curves(metrics: list[dict[str, float]]) -> list[str]:
    """What a run logs, by what it says: quality, the loss's terms, the cost."""

    def line(key: str) -> list[tuple[float, float]]:
        return [(row["step"], row[key]) for row in metrics if row.get(key) is not None]

    charts = [
        curves(f"{key} to the teacher, pictures held out ({sense})", {key: line(key)})
        for key, sense in QUALITY.items()
        if line(key)
    ]
    terms = {key: line(key) for key in ("distance", "pixel", "adversarial", "critic")}
    if terms["distance"]:
        charts.append(curves("terms of the loss", terms))
    if line("macs"):
        charts.append(curves("MACs while slimming", {"MACs": line("macs")}))
    return charts


def _widths(folder: Path, teacher: Mapping[str, int]) -> list[str]:
    """Channels kept of each of the teacher's groups, from the artifact's channel map."""
    file = folder / GENERATOR_FILE
    if not file.is_file() or not teacher:
        return []
    kept = read_header(file)["channel_map"]
    rows = [(name, len(kept.get(name, ())), total) for name, total in teacher.items()]
    return [bars("channels kept, by group", rows)]


def _protocol(protocol: Mapping[str, Any]) -> str:
    return "How quality was measured: " + "; ".join(f"{k} {v}" for k, v in protocol.items()) + "."
