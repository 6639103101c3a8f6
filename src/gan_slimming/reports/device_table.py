"""The device table of `benchmark --matrix` as Markdown, as a page of HTML, and as JSON."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_slimming.data.report_files import (
    as_json,
    check_report_file,
    markdown_table,
    write_report,
)

SUFFIXES = (".md", ".html", ".json")
HEAD = ("model", "runtime", "precision", "ms", "spread", "bytes", "peak memory", "layers in int8",
        "in float", "LPIPS", "PSNR, dB")  # fmt: skip
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color-scheme:light dark}"
    "div{overflow-x:auto}table{border-collapse:collapse}"
    "th,td{padding:.3rem .7rem;border-bottom:1px solid #8884;text-align:right;white-space:nowrap}"
    "th:nth-child(-n+3),td:nth-child(-n+3){text-align:left}"
)


def check_table(output: str | Path | None, overwrite: bool) -> Path | None:
    """Return the file of the table. Raises UserError as check_report_file."""
    return check_report_file(output, SUFFIXES, overwrite=overwrite)


def write_table(path: Path, report: dict[str, Any]) -> None:
    """Write a report of `benchmark` by the file's ending.

    Raises:
        NotWritten: the file cannot be written.
    """
    write_report(path, report, {".md": as_markdown, ".html": as_html, ".json": as_json})


def cells_of(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of one measurement, in the order of HEAD."""
    peak = row.get("peak_bytes")
    cells = [
        _short(str(row["model"])),
        row["runtime"],
        row["precision"],
        _figure(row["latency_ms"], ".1f"),
        _figure(row["spread"], ".1f"),
        _figure(row["size_bytes"], ",d"),
        f"{peak / 2**20:,.0f} MiB" if peak else "–",
        *(str(len(row[key])) if key in row else "–" for key in ("int8_layers", "float_layers")),
        _figure(row.get("lpips"), ".4f"),
        _figure(row.get("psnr"), ".1f"),
    ]
    return [*cells[:3], row["problem"]] if row.get("problem") else cells


def notes_of(report: Mapping[str, Any]) -> list[str]:
    """Return the lines below the table."""
    machine, size = report["machine"], report["size"]
    load = ", ".join(f"{value:.1f}" for value in machine["load"] or ())
    notes = [
        f"{machine['processor']} ({machine['kind'] or 'kind unknown'}), "
        f"{report['threads']} thread(s)" + (f"; load of the machine {load}" if load else ""),
        f"One image of {size}x{size}; ms are medians of calls in turns, each model in its own "
        "process, and the spread is between quartiles.",
        "Peak memory is the process's, libraries included.",
    ]
    if report.get("images"):
        notes.append(
            f"LPIPS and PSNR of {report['images']} images, drawn in that runtime, to those of "
            f"{report['reference'] or 'the same generator in torch'}; rounded to 8 bits."
        )
    return notes


def as_markdown(report: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    rows = [_filled(cells_of(row)) for row in report["measurements"]]
    table = markdown_table(HEAD, rows, left=3)
    return table + "\n\n" + "\n".join(f"- {note}" for note in notes_of(report)) + "\n"


def as_html(report: Mapping[str, Any]) -> str:
    """Return the table as a page that needs no other file."""
    rows = [_row("th", list(HEAD))]
    rows += [_row("td", cells_of(row)) for row in report["measurements"]]
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in notes_of(report))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Device table</title><style>{STYLE}</style></head><body><h1>Device table</h1>"
        f"<div><table>{''.join(rows)}</table></div><ul>{notes}</ul></body></html>\n"
    )


def _row(tag: str, cells: list[str]) -> str:
    texts = [html.escape(cell) for cell in cells]
    wide = len(HEAD) - len(cells) + 1
    last = f' colspan="{wide}"' if wide > 1 else ""
    inner = [f"<{tag}>{text}</{tag}>" for text in texts[:-1]]
    return f"<tr>{''.join(inner)}<{tag}{last}>{texts[-1]}</{tag}></tr>"


def _filled(cells: list[str]) -> list[str]:
    return cells + [""] * (len(HEAD) - len(cells))


def _figure(value: Any, form: str) -> str:
    unknown = value is None or (isinstance(value, float) and not math.isfinite(value))
    return "–" if unknown else format(value, form)


def _short(model: str) -> str:
    """Return MODEL without its folders."""
    head, colon, tail = model.rstrip("/").rpartition(":")
    return f"{head}{colon}{Path(tail).name}"
