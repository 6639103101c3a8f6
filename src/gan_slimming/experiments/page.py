"""The page of a table: every judge against every cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_slimming.experiments.records import notes_of, table_of
from gan_slimming.metrics.catalogue import METRICS
from gan_slimming.reports.charts import scatter
from gan_slimming.reports.page import Chart, Page, Section, Table, save_page

COSTS = (("macs", "MACs"), ("size_bytes", "bytes"))


def write_table_page(
    path: Path, title: str, records: Sequence[Mapping[str, Any]], failed: Mapping[str, str]
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        title: its heading.
        records: of the finished rows, at least one.
        failed: row -> why it failed.
    """
    head, rows = table_of(records)
    charts = [
        Chart(f"{metric} against {label}", _chart(records, metric, key, label))
        for metric in dict.fromkeys(r["metric"] for record in records for r in record["results"])
        for key, label in COSTS
    ]
    sections = [
        Section("table", "Rows", tables=[Table("", head, rows)], notes=notes_of(records)),
        Section("pareto", "Quality against cost", charts=charts),
    ]
    page = Page(
        title,
        f"{len(records)} rows finished" + (f", {len(failed)} failed." if failed else "."),
        sections=sections,
        warnings=[f"{row} failed: {reason}" for row, reason in failed.items()],
        notes=["A dashed line joins the rows that no other beats in both figures."],
    )
    save_page(path, page)


def _chart(records: Sequence[Mapping[str, Any]], metric: str, cost: str, label: str) -> str:
    points = [
        (record["row"], float(record["cost"][cost]), float(result["value"]))
        for record in records
        for result in record["results"]
        if result["metric"] == metric and result["value"] is not None
    ]
    return scatter(metric, points, label, higher_is_better=METRICS[metric].direction == "higher")
