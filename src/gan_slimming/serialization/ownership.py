"""Which files lie in a folder, by their own path or through links."""

from __future__ import annotations

import os
from pathlib import Path


def holds(folder: Path, given: Path) -> bool:
    """Return whether a file, or any file below a folder, lies in `folder`, by name or by link."""
    here = {Path(os.path.abspath(folder)), folder.resolve()}

    def inside(path: Path) -> bool:
        places = (Path(os.path.abspath(path)), path.resolve())
        return any(base in (place, *place.parents) for place in places for base in here)

    if inside(given):
        return True
    visited: set[str] = set()
    for parent, folders, names in os.walk(given, followlinks=True) if given.is_dir() else ():
        real = os.path.realpath(parent)
        if real in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        if any(inside(Path(parent, name)) for name in names):
            return True
    return False
