"""Reports as files: JSON, and tables in Markdown."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_slimming.data.files import refuse_existing, write_atomically
from gan_slimming.errors import NotWritten, UserError, system_reason

Maker = Callable[[dict[str, Any]], str]
"""A report -> the text of its file."""


def plain(value: Any) -> Any:
    """Return a value in JSON's types; infinities and NaN become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def as_json(report: Mapping[str, Any]) -> str:
    """Return a report as the text of a JSON file."""
    return json.dumps(plain(report), indent=2, allow_nan=False) + "\n"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a table in Markdown, without a line break at its end.

    Args:
        left: number of columns of text, which come first; those of figures end at the right.
    """
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def check_report_file(
    output: str | Path | None, suffixes: Sequence[str], *, overwrite: bool
) -> Path | None:
    """Return where a report goes, in a folder that is made.

    Raises:
        UserError: another ending, a file that exists, or a folder that takes no file.
    """
    if output is None:
        return None
    path = Path(output)
    if path.suffix.lower() not in suffixes:
        raise UserError(f"output {path} must end in {', '.join(suffixes)}")
    refuse_existing(path, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def write_report(path: Path, report: dict[str, Any], makers: Mapping[str, Maker]) -> None:
    """Write a report by the file's ending.

    Args:
        makers: ending -> what makes the file's text.
    Raises:
        NotWritten: the file cannot be written; the error holds the report, without `output`.
    """
    text = makers[path.suffix.lower()](report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise NotWritten(str(_unwritable(path, error)), report | {"output": None}) from error


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path} ({system_reason(error)}); name another --output")
