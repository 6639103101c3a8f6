"""Atomic writes, and the cache folder."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gan_slimming.errors import UserError

DRAFT = re.compile(r"\.[0-9a-f]{16}(\.\w+)?")
"""Names of the drafts that a crash may leave behind."""


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/gan-slimming, or ~/.cache/gan-slimming, without creating it."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gan-slimming"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is never partial; until then an old file stays.

    Raises:
        OSError: it cannot be written; no partial file is left.
    """
    with draft_of(path) as draft:
        draft.write_bytes(content)


def refuse_existing(*paths: Path, overwrite: bool) -> None:
    """Raise UserError for an output that exists, unless it may be replaced; always for a folder."""
    for path in paths:
        if path.is_dir():
            raise UserError(f"{path} is a folder; name a file")
        if os.path.lexists(path) and not overwrite:
            raise UserError(
                f"{path} exists already; replace it with --overwrite or name another --output"
            )


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside `path`, of the same suffix; move its file to `path` at the end.

    After an error the old file is unchanged and the draft is deleted.

    Raises:
        OSError: the draft cannot be moved.
    """
    draft = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")  # short, however long the name
    try:
        yield draft
        flush(draft)  # on disk before the old file is replaced
        draft.replace(path)
        with contextlib.suppress(OSError):  # Windows opens no folders
            flush(path.parent)
    finally:
        with contextlib.suppress(OSError):  # if the parent is no folder, for example
            draft.unlink()


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
