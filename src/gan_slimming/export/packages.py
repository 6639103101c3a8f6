"""Folders that are one model, as Core ML has them (.mlpackage)."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

from gan_slimming.data.files import refuse_existing
from gan_slimming.errors import UserError

MANIFEST = "Manifest.json"
"""A file that every package has."""


def pack(package: Path) -> bytes:
    """Return a folder as the content of a zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in sorted(package.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(package))
    return content.getvalue()


def refuse_package(path: Path, *, overwrite: bool) -> None:
    """Raise UserError for an output that exists, unless it is a package that may be replaced."""
    if not path.is_dir():
        refuse_existing(path, overwrite=overwrite)
    elif not (path / MANIFEST).is_file():
        raise UserError(f"{path} is a folder, but no Core ML package; name another --output")
    elif not overwrite:
        raise UserError(
            f"{path} exists already; replace it with --overwrite or name another --output"
        )


def write_package(content: bytes, draft: Path, path: Path) -> int:
    """Write a folder from the content of `pack`; return the bytes of its files.

    Args:
        draft: where the folder is written first, and the old one of that name is moved.
    Raises:
        OSError: it cannot be written.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(draft)
    if os.path.lexists(path):
        os.replace(path, draft.with_name("old"))
    os.replace(draft, path)
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
