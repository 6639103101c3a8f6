"""report: a run folder as one page, finished or not: samples, figures, curves, widths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_slimming.data.image_files import read_image
from gan_slimming.reports.charts import bars, curves
from gan_slimming.reports.page import Row, write_page
from gan_slimming.serialization.generator_file import read_header
from gan_slimming.serialization.run_folder import RunFolder

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
    run_folder = RunFolder(folder)
    page = Path(output) if output else run_folder.report
    run, record = run_folder.read_config()
    metrics, summary = run_folder.read_metrics(), run_folder.read_summary()
    rows = _samples(run_folder)
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
        charts=[*_curves(metrics), *_widths(run_folder, record.get("channels", {}))],
        notes=[
            *([_protocol(summary["protocol"])] if "protocol" in summary else []),
            f"{done} steps, seed {run.seed}, on {environment['processor']}, "
            f"{environment['gpu'] or 'no GPU'}; {versions}. "
            f"All settings are in {run_folder.config.name}.",
        ],
    )
    return {"report": str(page), "steps": done, "finished": bool(summary), **summary}


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


def _samples(folder: RunFolder) -> list[Row]:
    """Each sample is a file of images side by side; its name lists them: 00_teacher_student."""
    rows = []
    for file in sorted(folder.samples.glob("*_teacher_student.png")):
        strip = read_image(file).rgb
        rows.append(Row(file.stem, list(strip.chunk(file.stem.count("_"), dim=2))))
    return rows


def _curves(metrics: list[dict[str, float]]) -> list[str]:
    """What a run logs, by what it says: quality, the loss's terms, the cost."""

    def line(key: str) -> list[tuple[float, float]]:
        return [(row["step"], row[key]) for row in metrics if row.get(key) is not None]

    charts = [
        curves(f"{key} to the teacher, images held out ({sense})", {key: line(key)})
        for key, sense in QUALITY.items()
        if line(key)
    ]
    terms = {
        key: line(key) for key in ("distance", "pixel", "adversarial", "discriminator", "critic")
    }
    # 'critic' is the discriminator's name in runs of version 0.1.
    if terms["distance"]:
        charts.append(curves("terms of the loss", terms))
    if line("macs"):
        charts.append(curves("MACs while slimming", {"MACs": line("macs")}))
    return charts


def _widths(folder: RunFolder, teacher: Mapping[str, int]) -> list[str]:
    """Channels kept of each of the teacher's groups, from the artifact's channel map."""
    if not folder.generator.is_file() or not teacher:
        return []
    kept = read_header(folder.generator)["channel_map"]
    rows = [(name, len(kept.get(name, ())), total) for name, total in teacher.items()]
    return [bars("channels kept, by group", rows)]


def _protocol(protocol: Mapping[str, Any]) -> str:
    return "How quality was measured: " + "; ".join(f"{k} {v}" for k, v in protocol.items()) + "."
