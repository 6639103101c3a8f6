"""The results of an evaluation: rows for programs, a table for people, and files of either."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from gan_slimming.data.files import write_atomically
from gan_slimming.errors import UserError
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
    """Return the output file. Raises UserError for an unknown suffix or an existing file."""
    if output is None:
        return None
    path = Path(output)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"output {path} must end in {', '.join(SUFFIXES)}")
    if path.is_dir() or (path.exists() and not overwrite):
        raise UserError(f"{path} exists already; replace it with --overwrite or name another")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); name another --output") from error
    return path


def write_results(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON, a Markdown table or CSV rows, by the file's suffix.

    Raises:
        UserError: the file cannot be written.
    """
    makers = {".json": _as_json, ".md": as_markdown, ".csv": _as_csv}
    text = makers[path.suffix.lower()](report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}); name another --output") from error


def _as_json(report: dict[str, Any]) -> str:
    return json.dumps(_finite(report), indent=2, allow_nan=False, default=str) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    head, rows = table_rows(report)
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    text = "\n".join("| " + " | ".join(_escaped(line)) + " |" for line in lines)
    notes = [f"{m['model']}: {m['verdict']}." for m in report["models"] if m.get("verdict")]
    notes += [f"{key.replace('_', ' ')}: {value}" for key, value in report["protocol"].items()]
    return (
        text + "\n\nIntervals of 95 % in brackets.\n\n" + "\n".join(f"- {n}" for n in notes) + "\n"
    )


def _escaped(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]


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
