"""The list of a run's images, by which a change of them is noticed before the run goes on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_slimming.data.dataset import Dataset, list_items
from gan_slimming.data.image_files import list_images
from gan_slimming.data.table import read_table

WHOLE_BYTES = 4 << 20
"""Files up to this size are read whole; of larger ones the size and three pieces are taken."""
PIECE_BYTES = 1 << 18
NAMED = 3
"""Most changed images that are named."""

Row = dict[str, Any]
"""set (data or targets), name (path inside the folder), bytes, sha256."""


def list_set(name: str, folder: str | Path | Dataset | None) -> list[Row]:
    """Return a row for each image of a folder, in the order of their names.

    Args:
        name: 'data' or 'targets'.
        folder: or a CSV file, which counts with all files that it names, or a dataset, of which
            some items count; None gives no rows.
    """
    if folder is None:
        return []
    if not isinstance(folder, str | Path):
        return list_items(folder)
    root = Path(folder)
    if root.suffix.lower() == ".csv":
        files, root = read_table(root).files(), root.parent.resolve()
        return [
            {"set": name, "name": os.path.relpath(file.resolve(), root), **_content(file)}
            for file in files
        ]
    return [
        {"set": name, "name": path.relative_to(root).as_posix(), **_content(path)}
        for path in list_images([root])
    ]


def changes(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what has changed between two lists, in words; None if nothing has."""
    old, new = _by_name(before), _by_name(now)
    places = {row["sha256"]: name for name, row in new.items() if name not in old}
    found = []
    for name, row in old.items():
        if name not in new:
            other = places.pop(row["sha256"], None)
            found.append(f"{name[1]} {f'is now {other[1]}' if other else 'is missing'}")
        elif new[name]["sha256"] != row["sha256"]:
            found.append(f"{name[1]} has changed")
    found += [f"{name[1]} is new" for name in places.values()]
    if not found:
        return None
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more


def _by_name(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(str(row["set"]), str(row["name"])): row for row in rows}


def _content(path: Path) -> Row:
    """Return size and digest; those of a file that cannot be read are its size and nothing."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size <= WHOLE_BYTES:
                digest.update(file.read())
            else:
                for start in (0, size // 2, size - PIECE_BYTES):
                    file.seek(start)
                    digest.update(file.read(PIECE_BYTES))
                digest.update(str(size).encode())
    except OSError:
        return {"bytes": 0, "sha256": ""}
    return {"bytes": size, "sha256": digest.hexdigest()}
