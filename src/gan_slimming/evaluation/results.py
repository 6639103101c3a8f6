"""The results of an evaluation: rows for programs, a table for people, and files of either."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from gan_slimming.data.report_files import (
    as_json,
    check_report_file,
    markdown_table,
    write_report,
)
from gan_slimming.metrics.catalogue import METRICS

SUFFIXES = (".json", ".md", ".csv")
ARROWS = {"lower": "lower is better", "higher": "higher is better"}
COSTS = (
    ("macs", "MACs"),
    ("paper_convention_macs", "MACs as papers count them"),
    ("parameters", "parameters"),
    ("size_bytes", "bytes of the file"),
    ("peak_activation_bytes", "peak bytes of activations"),
    ("latency_ms", "ms for one image"),
)
COLUMNS = ("model", "metric", "value", "low", "high", "direction", "unit", "images", "spread")


def row_of(
    model: str, metric: str, figures: dict[str, Any], protocol: dict[str, Any]
) -> dict[str, Any]:
    """Return one row of the results.

    Args:
        model: its name.
        metric: a name of METRICS.
        figures: value, low, high, images, and spread if the metric has one.
        protocol: the settings of the measurement.
    """
    told = METRICS[metric]
    head = {"model": model, "metric": metric, **figures}
    return {**head, "direction": told.direction, "unit": told.unit, "protocol": protocol}


def check_output(output: str | Path | None, overwrite: bool) -> Path | None:
    """Return the output file. Raises UserError as check_report_file."""
    return check_report_file(output, SUFFIXES, overwrite=overwrite)


def write_results(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON, a Markdown table or CSV rows, by the file's ending.

    Raises:
        NotWritten: the file cannot be written.
    """
    write_report(path, report, {".json": as_json, ".md": as_markdown, ".csv": _as_csv})


def _as_csv(report: dict[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "protocol"])
    for row in report["results"]:
        cells = [row.get(name) for name in COLUMNS]
        writer.writerow([*cells, json.dumps(row["protocol"], default=str)])
    for model in report["models"]:
        for key, _ in COSTS:
            if model.get(key) is not None:
                writer.writerow([model["model"], key, model[key], *[None] * 7])
    return text.getvalue()


def table_rows(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return a table with a row for each metric or cost and a column for each model."""
    models = [model["model"] for model in report["models"]]
    short = _short_names(models)
    cells: dict[str, dict[str, str]] = {}
    for row in report["results"]:
        cells.setdefault(row["metric"], {})[row["model"]] = _cell(row)
    rows = []
    for metric, of_models in cells.items():
        told = METRICS[metric]
        unit = f", {told.unit}" if told.unit else ""
        head = f"{metric} ({ARROWS[told.direction]}{unit})"
        rows.append([head, *(of_models.get(model, "–") for model in models)])
    for key, name in COSTS:
        values = [model.get(key) for model in report["models"]]
        if any(value is not None for value in values):
            shown = [
                f"{v:,.1f}" if isinstance(v, float) else f"{v:,}" if v else "–" for v in values
            ]
            rows.append([name, *shown])
    return ["", *short], rows


def _short_names(models: Sequence[str]) -> list[str]:
    """Return the names without their folders if they still differ, else as they are."""
    short = [re.sub(r"[^:/\\]*[/\\]", "", model.rstrip("/")) for model in models]
    return short if len(set(short)) == len(models) and all(short) else list(models)


def _cell(row: dict[str, Any]) -> str:
    value, low, high = (row[key] for key in ("value", "low", "high"))
    figure = _short(value)
    if row.get("spread") is not None:
        figure += f" ± {_short(row['spread'])}"
    return figure if low is None else f"{figure} [{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def as_markdown(report: dict[str, Any]) -> str:
    """Return the table as Markdown, with the verdicts and the protocol below it."""
    text = markdown_table(*table_rows(report))
    notes = [f"{m['model']}: {m['verdict']}." for m in report["models"] if m.get("verdict")]
    notes += [f"{key.replace('_', ' ')}: {value}" for key, value in report["protocol"].items()]
    return (
        text + "\n\nIntervals of 95 % in brackets.\n\n" + "\n".join(f"- {n}" for n in notes) + "\n"
    )


def as_table(report: dict[str, Any]) -> Table:
    """Return the results as a table for a terminal."""
    head, rows = table_rows(report)
    title = f"{report['images']} images of {report['protocol']['data']}"
    table = Table(title=Text(title), title_justify="left")  # Text: names may look like markup
    table.add_column(head[0])
    for model in head[1:]:
        table.add_column(Text(model), justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
