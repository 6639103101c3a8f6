"""The command models: the generators that come with the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gan_slimming.data.files import refuse_existing, write_atomically
from gan_slimming.errors import UserError, system_reason
from gan_slimming.reports.model_card import model_card
from gan_slimming.serialization.shipped import shipped_file, shipped_names, shipped_record

TABLE_WIDTH = 110
"""Width of the table in characters, if stderr is no terminal."""
SHOWN = ("lpips", "psnr")
"""Metrics in the table; the JSON lists all."""


def models(cards: str | Path | None = None, *, overwrite: bool = False) -> dict[str, Any]:
    """Return the records of all shipped generators.

    Args:
        cards: folder for a model card of each, NAME.md; None writes none.
        overwrite: whether to replace cards that exist.
    Returns:
        models (a list of records, each with the path of its file) and cards (paths).
    Raises:
        UserError: a record is damaged, or a card cannot be written.
    """
    records = [shipped_record(name) for name in shipped_names()]
    written: list[str] = []
    if cards is not None:
        texts = {Path(cards) / f"{record.name}.md": model_card(record) for record in records}
        written = _write(texts, overwrite)
    rows = [vars(record) | {"file": str(shipped_file(record.name))} for record in records]
    return {"models": rows, "cards": written}


def _write(texts: dict[Path, str], overwrite: bool) -> list[str]:
    """Write the cards; return their paths."""
    refuse_existing(*texts, overwrite=overwrite)
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text.encode())
    except OSError as error:
        raise UserError(
            f"cards cannot be written ({system_reason(error)}); name another folder with --cards"
        ) from error
    return [str(path) for path in texts]


def print_table(report: dict[str, Any]) -> None:
    """Print the models as a table on stderr."""
    console = Console(stderr=True, width=None if sys.stderr.isatty() else TABLE_WIDTH)
    table = Table("model", title="Shipped models: each name is a MODEL", title_justify="left")
    for heading in ("bytes", "MMACs", *SHOWN):
        table.add_column(heading, justify="right")
    table.add_column("licence")
    table.add_column("what it does")
    for row in report["models"]:
        figures = {r["metric"]: r["value"] for r in row["quality"]}
        cells = [
            row["name"],
            f"{row['size_bytes']:,}",
            f"{row['macs'] / 1e6:,.0f}" if row["macs"] else "",
            *(f"{figures[name]:.3g}" if name in figures else "" for name in SHOWN),
            row["licence"],
            row["description"],
        ]
        table.add_row(*map(Text, cells))
    console.print(table)
