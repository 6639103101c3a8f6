"""Writes the tables of README and docs from the records in results/, as results/tables.yaml says.

    python benchmarks/tables.py            # or: make results
    python benchmarks/tables.py --check    # writes nothing; ends with 1 where a page is out of date

So no figure is typed: a new record, and the tables that it stands in are new, too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parent.parent
UNITS = {"G": 1e9, "M": 1e6}
BLOCK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--check", action="store_true", help="only say which pages are out of date")
    check = made.parse_args().check
    tables = yaml.safe_load((REPOSITORY / "results/tables.yaml").read_text("utf-8"))
    stale = False
    for page in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        text = page.read_text("utf-8")
        current = filled(text, tables, REPOSITORY / "results")
        if current == text:
            continue
        stale = True
        print(page.relative_to(REPOSITORY), "is out of date" if check else "written")
        if not check:
            page.write_text(current, "utf-8")
    sys.exit(int(check and stale))


def filled(page: str, tables: Mapping[str, Any], records: Path) -> str:
    """Return a page with each of its tables as the records have it now.

    Raises:
        KeyError: the page names a table that is not described, or a record lacks a value.
    """
    return BLOCK.sub(lambda m: f"{m[1]}{table(tables[m[2]], records)}{m[3]}", page)


def table(description: Mapping[str, Any], records: Path) -> str:
    """Return a Markdown table; a row is labels and the record whose values stand beside them."""
    columns = description["columns"]
    head = [*description["heading"], *(heading for heading, _, _ in columns)]
    lines = [head, ["---"] * len(head)]
    width = len(description["heading"])
    for row in description["rows"]:
        labels, (name, *part) = row[:width], row[width:]
        record = json.loads((records / f"{name}.json").read_text("utf-8"))
        record = part_of(record, part[0]) if part else record
        lines.append([*labels, *(cell(value(record, path), form) for _, path, form in columns)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def part_of(record: Any, part: str) -> Any:
    """Return the part of a record that a row shows: at a path, or of 'model=NAME' of several."""
    name = part.removeprefix("model=")
    if name == part:
        return value(record, part)
    named = {key: [x for x in record[key] if x["model"] == name] for key in ("results", "models")}
    return record | named


def cell(found: Any, form: str) -> str:
    """Return a figure's text: a number, or the value and interval of a metric; '–' for None.

    Args:
        form: as for `format`; G in front divides by 10^9, M by 10^6.
    """
    if isinstance(found, Mapping):
        value, low, high = (cell(found[key], form) for key in ("value", "low", "high"))
        return f"{value} [{low}, {high}]"
    if found is None:
        return "–"
    if form[0] in UNITS:
        return format(found / UNITS[form[0]], form[1:])
    return format(found, form)


def value(record: Any, path: str) -> Any:
    """Return what stands at a dotted path, such as curve.-1.lpips or results.metric=lpips.value.

    A part is a key; in a list a place, or the first entry with such a value.
    """
    for part in path.split("."):
        key, equals, wanted = part.partition("=")
        if equals:
            record = next(entry for entry in record if str(entry[key]) == wanted)
        else:
            record = record[int(part)] if isinstance(record, Sequence) else record[part]
    return record


if __name__ == "__main__":
    main()
