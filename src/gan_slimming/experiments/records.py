"""Records of rows, one JSON file each, and the table that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_slimming.data.files import write_atomically
from gan_slimming.data.report_files import markdown_table
from gan_slimming.errors import UserError
from gan_slimming.metrics.catalogue import METRICS

FORMAT = 1
"""Version of a record's layout."""
ARROWS = {"lower": "↓", "higher": "↑"}


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a finished row; from then on the row is never run again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(record, indent=2, default=str) + "\n").encode())


def read_records(folder: Path, order: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the records in a folder, in the order of rows, others behind by name.

    Raises:
        UserError: a file is no record.
    """
    found = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    names = [name for name in order if name in found]
    return [found[name] for name in [*names, *(n for n in found if n not in names)]]


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
        if record["format"] > FORMAT:
            raise UserError(f"{path} was written by a newer version; update gan-slimming")
        return record | {"results": list(record["results"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no record of a row ({error}); remove it") from error


def as_markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a row for the teacher and for each record, and its protocol below."""
    if not records:
        return "No row is finished.\n"
    text = markdown_table(*table_of(records))
    return text + "\n\n" + "\n".join(f"- {note}" for note in notes_of(records)) + "\n"


def table_of(records: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows: cost, figures with their intervals, steps and time."""
    metrics = list(dict.fromkeys(r["metric"] for record in records for r in record["results"]))
    head = ["method", "MACs", "parameters", "bytes"]
    head += [f"{name} {ARROWS[METRICS[name].direction]}" for name in metrics]
    timed = any(record.get("latency") for record in records)
    head += ["steps", "seconds", *(["ms in OpenVINO"] if timed else [])]
    dense = records[0]["teacher"]
    costs = [f"{dense[key]:,}" for key in ("macs", "parameters", "size_bytes")]
    rows = [["teacher, fp32", *costs]]
    rows += [_row(record, metrics) + ([_time(record)] if timed else []) for record in records]
    return head, [row + ["–"] * (len(head) - len(row)) for row in rows]


def _row(record: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    dense, cost = record["teacher"], record["cost"]
    cells = [record["row"]]
    for key in ("macs", "parameters", "size_bytes"):
        cells.append(f"{cost[key]:,} (1/{dense[key] / max(1, cost[key]):.3g})")
    found = {result["metric"]: result for result in record["results"]}
    cells += [_figure(found[name]) if name in found else "–" for name in metrics]
    return [*cells, f"{record['steps']:,}", f"{record['seconds']:,.0f}"]


def _time(record: Mapping[str, Any]) -> str:
    told = record.get("latency")
    return f"{told['latency_ms']:.3g} ({told['precision']})" if told else "–"


def _figure(result: Mapping[str, Any]) -> str:
    value, low, high = (result.get(key) for key in ("value", "low", "high"))
    text = "–" if value is None else f"{value:.4g}"
    return text if low is None else f"{text} [{low:.4g}, {high:.4g}]"


def notes_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what must be known to read the table."""
    first = records[0]
    length = {f"{r['length']}" for r in records}
    images = {r["images"] for r in records}
    places = {f"{r['environment']['processor']}, {r['threads']} thread(s)" for r in records}
    commits = {str(r["environment"]["commit"])[:7] for r in records}
    dates = sorted({r["date"] for r in records})
    notes = [
        f"{first['experiment']}, scale {first['scale']}, seed "
        f"{_several(r['seed'] for r in records)}; each row {' or '.join(sorted(length))}; budget "
        f"{first['budget']}",
        f"judged on {_several(images)} images that training never saw; intervals of 95 % in "
        "brackets, ↓ lower is better, ↑ higher is better",
        "cost is of one image, time is that of all stages; the search of CEC counts",
        f"{'; '.join(sorted(places))}; commit {', '.join(sorted(commits))}; "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}",
    ]
    return notes + sorted({r["note"] for r in records if r.get("note")})


def _several(values: Any) -> str:
    return ", ".join(map(str, sorted(set(values))))
