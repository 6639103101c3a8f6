"""Generators that come with the package: their names, files and records."""

from __future__ import annotations

import difflib
from pathlib import Path

from gan_slimming.errors import UserError
from gan_slimming.serialization.model_record import ModelRecord, read_record

FOLDER = Path(__file__).parents[1] / "models" / "shipped"
"""A shipped model is NAME.safetensors with its record in NAME.json."""
MOST_BYTES = 500_000
"""Size of a shipped file. The demo's teacher, cartoon_small, is older and larger."""


def shipped_names() -> list[str]:
    """Return the names of the shipped generators, in alphabetical order."""
    return sorted(p.stem for p in FOLDER.glob("*.json") if p.with_suffix(".safetensors").is_file())


def shipped_file(name: str) -> Path | None:
    """Return the file of a shipped generator; None where no shipped one has that name."""
    return FOLDER / f"{name}.safetensors" if name in shipped_names() else None


def shipped_record(name: str) -> ModelRecord:
    """Return the record of a shipped generator.

    Raises:
        UserError: no generator of that name is shipped, or its record is damaged.
    """
    names = shipped_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"take one of {', '.join(names)}"
        raise UserError(f"no model called {name!r} is shipped; {hint}")
    return read_record(FOLDER / f"{name}.json")
