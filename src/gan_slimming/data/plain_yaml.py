"""YAML files as plain data: bounded in size and depth, and without aliases.

A few lines of aliases of aliases unfold into more objects than any memory holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gan_slimming.errors import UserError, one_line

MOST_BYTES = 1 << 20
MOST_DEPTH = 50
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where it is installed, ten times as fast."""


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        UserError: no regular file, too large, too deep, with aliases, or damaged.
    """
    text = read_text(path)
    check_yaml(text, str(path))
    return yaml.load(text, _LOADER)


def read_text(path: Path) -> str:
    """Return the text of a small file.

    Raises:
        UserError: no regular file, too large, or not UTF-8.
    """
    if not path.is_file():
        kind = "is no regular file" if path.exists() else "does not exist"
        raise UserError(f"{path} {kind}; give a YAML file")
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise UserError(f"{path} has {size:,} bytes, at most {MOST_BYTES:,} are read")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: it is not UTF-8 text") from error


def check_yaml(text: str, source: str) -> None:
    """Raise UserError for aliases, nesting that no settings have, and what is no YAML."""
    depth = 0
    try:
        for event in yaml.parse(text, _LOADER):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1
                raise UserError(
                    f"{source} has the alias *{event.anchor} in line {line}; write its value out"
                )
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_DEPTH:
                raise UserError(f"{source} is nested deeper than {MOST_DEPTH} levels")
        yaml.load(text, _LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{source} is no YAML ({one_line(error)[:200]})") from error
