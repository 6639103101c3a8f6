"""Files that appear whole or not at all, and the folder of what can be made again."""

from __future__ import annotations

import os
import secrets
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
    draft = path.with_name(f".{secrets.token_hex(8)}.tmp")  # short, whatever the name is
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
