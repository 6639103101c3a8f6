"""Logs of one JSON object a line, which a crash or a full disk may have cut or damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_slimming.data.files import write_atomically


class Log:
    """A log that grows line by line.

    A line that the disk refuses is kept, and written with the next one.

    Args:
        path: its file.
    """

    def __init__(self, path: Path):
        self.path = path
        self._waiting: list[str] = []

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a row, after those that are still to be written.

        Raises:
            OSError: the disk refuses; no half line is left.
        """
        self._waiting.append(json.dumps(row) + "\n")
        content = "".join(self._waiting).encode()
        with self.path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                written = 0
                while written < len(content):
                    written += file.write(content[written:])
            except OSError:
                file.truncate(size)
                raise
        self._waiting.clear()

    def drop_after(self, step: int) -> int:
        """Keep only rows up to a step; return the number of damaged lines, which go as well."""
        self._waiting.clear()
        if not self.path.is_file():
            return 0
        lines, damaged = [], 0
        for line in whole_lines(self.path):
            row = parsed(line)
            at = row.get("step") if row else None
            if isinstance(at, int):
                lines += [line] if at <= step else []
            else:
                damaged += 1
        write_atomically(self.path, "".join(lines).encode())
        return damaged


def whole_lines(file: Path) -> list[str]:
    """Return the lines of a log that have their end; a crash, or a run under way, cuts the last."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def parsed(line: str) -> dict[str, Any] | None:
    """Return the object in a line; None for anything else."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
