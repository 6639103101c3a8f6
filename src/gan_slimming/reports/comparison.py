"""One page on several runs: quality against cost, common images, and the charts of each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_slimming.errors import UserError
from gan_slimming.reports import figures, tables
from gan_slimming.reports.charts import Points, curves, scatter
from gan_slimming.reports.figures import QUALITY
from gan_slimming.reports.gallery import (
    DIFFERENCE,
    Gallery,
    Sample,
    gallery_of,
    read_samples,
)
from gan_slimming.reports.page import Chart, Page, Section, Table, save_page
from gan_slimming.reports.run import outcome
from gan_slimming.reports.run_data import RunData, read_run_data
from gan_slimming.reports.svg import duration, number

PAGE = "comparison.html"
COSTS = (("macs", "MACs"), ("size_bytes", "bytes"), ("seconds", "seconds of training"))


def compare(folders: Sequence[Path], output: Path) -> dict[str, Any]:
    """Write one page on several run folders, finished or under way.

    Returns:
        report (path), and runs: run, steps, finished and summary of each.
    Raises:
        UserError: no run folder, or a folder named twice.
    """
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise UserError(f"{folder} is named twice; name each run once")
        seen.add(folder.resolve())
    runs = [read_run_data(folder) for folder in folders]
    save_page(output, comparison_of(runs))
    return {
        "report": str(output),
        "runs": [{"run": str(run.folder), **outcome(run)} for run in runs],
    }


def comparison_of(runs: Sequence[RunData]) -> Page:
    """Return the page of several runs."""
    named = dict(zip(names_of(runs), runs, strict=True))
    done = {name: run for name, run in named.items() if run.summary}
    warnings = [f"{name}: {text}" for name, run in named.items() for text in run.warnings]
    gallery = _common_images(done, warnings)
    left = len(runs) - len(done)
    lead = f"{len(done)} finished" + (f", {left} under way." if left else ".")
    sections = [
        Section("pareto", "Quality against cost", _pareto(done), [_overview(named)],
                _differences(done)),
        Section("training", "Training", _over_steps(named)),
        *(_of_run(i, name, run) for i, (name, run) in enumerate(named.items())),
    ]  # fmt: skip
    return Page(
        title=f"{len(runs)} runs compared",
        lead=lead,
        gallery=gallery,
        before=next(iter(done)) if gallery else "",
        after=list(done)[-1] if gallery else "",
        sections=sections,
        warnings=warnings,
        notes=["A dashed line joins the runs that no other beats in both figures."],
    )


def names_of(runs: Sequence[RunData]) -> list[str]:
    """Return the label of each run: its folder's name, or its path if names repeat."""
    names = [run.name for run in runs]
    return [
        str(run.folder) if names.count(name) > 1 else name
        for run, name in zip(runs, names, strict=True)
    ]


def _pareto(done: Mapping[str, RunData]) -> list[Chart]:
    charts = []
    for measure in ("lpips", "psnr"):
        title, sense = QUALITY[measure]
        for cost, label in COSTS:
            points = [
                (name, float(run.summary[cost]), float(run.summary[measure]))
                for name, run in done.items()
                if cost in run.summary and measure in run.summary
            ]
            if points:
                svg = scatter(title, points, label, higher_is_better=measure == "psnr")
                charts.append(Chart(f"{title.split()[0]} against {label}", svg, sense))
    return charts


def _overview(named: Mapping[str, RunData]) -> Table:
    head = ["run", "MACs", "parameters", "bytes", "bits", "LPIPS", "PSNR (dB)", "steps", "time"]
    rows = []
    for name, run in named.items():
        summary = run.summary
        costs = [f"{summary[key]:,}" if key in summary else "–" for key in tables.COSTS]
        quality = [f"{summary[key]:.4g}" if key in summary else "–" for key in ("lpips", "psnr")]
        bits = str(summary.get("bits") or "float") if summary else "–"
        steps = f"{run.steps:,}" + ("" if summary else f" of {run.run.optimisation.steps:,}")
        rows.append([name, *costs, bits, *quality, steps, _time(run)])
    return Table("All runs", head, rows)


def _time(run: RunData) -> str:
    seconds = run.summary.get("seconds") or (run.metrics[-1].get("seconds") if run.metrics else 0)
    unit, size = duration(float(seconds or 0))
    return f"{number(float(f'{(seconds or 0) / size:.3g}'))} {unit}"


def _differences(done: Mapping[str, RunData]) -> list[str]:
    """Return notes on differences that make the figures of the runs incomparable."""
    notes = []
    teachers = {str((run.record.get("generator") or {}).get("sha256")) for run in done.values()}
    if len(teachers) > 1:
        notes.append("The runs have different teachers: distances are to each run's own teacher.")
    protocols = {str(_measured_on(run.summary.get("protocol") or {})) for run in done.values()}
    images = {str(run.record.get("data")) for run in done.values()}
    if len(protocols) > 1 or len(images) > 1:
        notes.append(
            "The runs were measured on different images or at different sizes: their figures "
            "cannot be compared, and their images are not shown side by side."
        )
    return notes


def _measured_on(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return what figures depend on; version 0.1 called the number of images 'pictures'."""
    images = protocol.get("images", protocol.get("pictures"))
    rest = {k: v for k, v in protocol.items() if k not in ("images", "pictures")}
    return {"images": images, **{k: v for k, v in sorted(rest.items()) if "trained" not in k}}


def _over_steps(named: Mapping[str, RunData]) -> list[Chart]:
    charts = []
    for key, (title, sense) in QUALITY.items():
        lines: dict[str, Points] = {
            name: [(row["step"], row[key]) for row in run.metrics if row.get(key) is not None]
            for name, run in named.items()
        }
        times: dict[str, Points] = {
            name: [(row["seconds"] / 60, row[key]) for row in run.metrics
                   if row.get(key) is not None and "seconds" in row]
            for name, run in named.items()
        }  # fmt: skip
        if any(lines.values()):
            by_time = curves(title, times, "min") if any(times.values()) else ""
            charts.append(Chart(title, curves(title, lines), sense, by_time))
    return charts


def _of_run(number_: int, name: str, run: RunData) -> Section:
    """Return the section of one run: channels, training, latency and provenance."""
    note = tables.lead(run.summary) if run.summary else (
        f"{run.steps} of {run.run.optimisation.steps} steps done.")  # fmt: skip
    charts = [
        *figures.channel_chart(run),
        *figures.loss_charts(run),
        *figures.gate_charts(run),
        *figures.latency_chart(run.benchmark),
    ]
    provenance = tables.provenance_tables(run)[0]
    folded = Table("Provenance", provenance.head, provenance.rows, folded=True, prose=True)
    return Section(f"run-{number_ + 1}", name, charts, [folded], [note])


def _common_images(done: Mapping[str, RunData], warnings: list[str]) -> Gallery | None:
    """Return the held-out images common to all finished runs of a teacher, one view per run."""
    found: dict[str, dict[str, Sample]] = {}
    for name, run in done.items():
        samples = read_samples(run.folder, run.held_out, warnings)
        found[name] = {sample.name: sample for sample in samples}
    if len(found) < 2:
        return None
    first = next(iter(found.values()))
    merged = []
    for key, sample in first.items():
        others = [samples.get(key) for samples in found.values()]
        same = [s for s in others if s is not None and _same_teacher(s, sample)]
        if len(same) < len(found):
            continue
        views = {view: pixels for view, pixels in sample.views.items()
                 if view not in ("student", DIFFERENCE)}  # fmt: skip
        views |= {name: s.views["student"] for name, s in zip(found, same, strict=True)}
        merged.append(Sample(key, views))
    return gallery_of(merged)


def _same_teacher(one: Sample, other: Sample) -> bool:
    return np.array_equal(one.views["teacher"], other.views["teacher"])
