"""The report of one run, finished or under way, as one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_slimming.reports import figures, tables
from gan_slimming.reports.gallery import Gallery, gallery_of, read_samples
from gan_slimming.reports.page import Page, Section, save_page
from gan_slimming.reports.run_data import RunData, read_run_data
from gan_slimming.serialization.run_folder import RunFolder


def report(folder: str | Path, output: str | Path | None = None) -> dict[str, Any]:
    """Write the page of a run folder; a run under way shows how far it is.

    Args:
        folder: a run folder.
        output: the page; by default report.html in the run folder.
    Returns:
        report (path), steps (done), finished, and the summary of a finished run.
    Raises:
        UserError: no run folder, or settings that cannot be read.
    """
    folder = Path(folder)
    page = Path(output) if output else RunFolder(folder).report
    data = read_run_data(folder)
    save_page(page, page_of(data))
    return {"report": str(page), **outcome(data)}


def outcome(data: RunData) -> dict[str, Any]:
    """Return steps (done), finished, and the summary, for the JSON of the command."""
    summary = {key: value for key, value in data.summary.items() if key != "report"}
    return {"steps": data.steps, "finished": bool(data.summary), **summary}


def page_of(data: RunData) -> Page:
    """Return the page of one run."""
    warnings = list(data.warnings)
    gallery = gallery_of(read_samples(data.folder, data.held_out, warnings), data.held_out)
    finished = bool(data.summary)
    notes = []
    if gallery is None:
        why = "do not fit into a page or are missing" if finished else "are written when it ends"
        notes.append(f"No images: samples of a run {why}.")
    return Page(
        title=f"{data.record['generator']['name']}, slimmed",
        lead=tables.lead(data.summary) if finished else f"{data.progress} done.",
        cards=tables.cards(data),
        gallery=gallery,
        sections=[section for section in sections_of(data, gallery) if _holds_something(section)],
        warnings=warnings,
        notes=[*notes, *_small_print(data)],
        progress=None if finished else data.share,
    )


def sections_of(data: RunData, gallery: Gallery | None) -> list[Section]:
    """Return the sections below the images; some may be empty."""
    spread = figures.spread_charts(data, gallery.measures[:3] if gallery else ())
    return [
        Section("spread", "Every held-out image", spread, tables.quality_tables(data.summary)),
        Section(
            "training",
            "Training",
            [
                *figures.search_charts(data),
                *figures.quality_charts(data),
                *figures.loss_charts(data),
                *figures.budget_chart(data),
            ],
        ),
        Section(
            "slimming", "Slimming", [*figures.sparsity_chart(data), *figures.gate_charts(data)]
        ),
        Section(
            "layers",
            "Layers",
            [
                *figures.channel_chart(data),
                *figures.work_chart(data),
                *figures.range_chart(data),
            ],
            [*tables.channel_tables(data), *tables.range_tables(data)],
        ),
        Section("cost", "Cost", figures.latency_chart(data.benchmark), tables.cost_tables(data)),
        Section("provenance", "Provenance", tables=tables.provenance_tables(data)),
    ]


def _holds_something(section: Section) -> bool:
    return bool(section.charts or section.tables)


def _small_print(data: RunData) -> list[str]:
    notes = []
    protocol: Mapping[str, Any] | None = data.summary.get("protocol")
    if protocol:
        told = {k: v for k, v in protocol.items() if k != "pictures" or "images" not in protocol}
        parts = [f"{key.replace('_', ' ')} {value}" for key, value in told.items()]
        notes.append(f"How quality was measured: {'; '.join(parts)}.")
    if data.ranges:
        notes.append(
            "An activation counts as clipped if it is more than half a quantisation step outside "
            "the representable range. Weights are never clipped: their scale follows the largest."
        )
    notes.append("All settings are in config.yaml of the run folder.")
    return notes
