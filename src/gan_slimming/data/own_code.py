"""Objects of the user's own code, by name: package.module:factory."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan_slimming.errors import UserError, one_line


def call_factory(kind: str, name: str, arguments: Mapping[str, Any]) -> Any:
    """Return what the factory of the user's code returns.

    Args:
        kind: what it makes, for errors, such as 'generator'.
        name: package.module:factory; imported, also from the current folder.
        arguments: keyword arguments of the factory.
    Raises:
        UserError: it is named otherwise, cannot be imported, or fails.
    """
    place, _, attribute = name.partition(":")
    if not place or not attribute:
        raise UserError(f"a {kind} of your own is named package.module:factory, got {name!r}")
    with _current_folder_importable():
        try:
            factory: Any = importlib.import_module(place)
            for part in attribute.split("."):
                factory = getattr(factory, part)
            return factory(**arguments)
        except UserError:
            raise
        except Exception as error:  # the user's code may raise anything
            raise UserError(
                f"{kind} {name} failed with {type(error).__name__}: {one_line(error)}"
            ) from error


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Let a console script import from the current folder, as `python -m` does, but last."""
    folder = str(Path.cwd())
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
