"""Files that appear whole or not at all, and the folder of what can be made again."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/gan-slimming, or ~/.cache/gan-slimming. Not made here."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gan-slimming"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole; an old one stays until the new one is.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    with draft_of(path) as draft:
        draft.write_bytes(content)


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Yield a hidden file beside `path`, of the same suffix, that takes its place in the end.

    An error leaves the old file, and nothing else.

    Raises:
        OSError: the draft cannot be moved.
    """
    draft = path.with_name(f".{secrets.token_hex(8)}{path.suffix}")  # short, whatever the name is
    try:
        yield draft
        with draft.open("rb+") as file:  # on the disk before the old file goes
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        with contextlib.suppress(OSError):  # where the parent is no folder, say
            draft.unlink()
