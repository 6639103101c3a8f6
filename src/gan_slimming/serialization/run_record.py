"""The record in config.yaml: settings, and everything stored beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan_slimming.config import Run
from gan_slimming.errors import one_line

KINDS: dict[str, type | tuple[type, ...]] = {
    "generator": dict,
    "generator.name": str,
    "generator.arguments": dict,
    "generator.weights": (str, type(None)),
    "data": (str, type(None)),
    "targets": (str, type(None)),
    "discriminator": (str, type(None)),
    "student": (dict, type(None)),
    "protect": list,
    "channels": dict,
}
"""Entry -> its types, where it is there."""


def settings_of(record: Any) -> Run:
    """Return the settings of a run's record, once its entries are seen to be of their types.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, UserError: they are not.
    """
    for name, kind in KINDS.items():
        place: Any = record
        *above, last = name.split(".")
        for part in above:
            place = place.get(part, {})
        if last in place and not isinstance(place[last], kind):
            raise TypeError(f"{name} is {str(place[last])[:40]!r}")
    return Run.from_record(record["run"])


def reason_of(error: Exception) -> str:
    """Return what is wrong with a record, in a few words."""
    return f"it has no {error.args[0]}" if isinstance(error, KeyError) else one_line(error)


def plain(value: Any) -> Any:
    """Return nested values as dicts and lists, which YAML writes without tags."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
