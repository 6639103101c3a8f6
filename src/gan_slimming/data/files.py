"""Atomic writes, and the cache folder."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        with draft.open("rb+") as file:  # on disk before the old file is replaced
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        with contextlib.suppress(OSError):  # if the parent is no folder, for example
            draft.unlink()
