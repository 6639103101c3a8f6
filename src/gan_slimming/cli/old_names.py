"""Flags and values of version 0.1 under their names of today."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from gan_slimming.config import RENAMED
from gan_slimming.errors import UserError

OLD_FLAGS = {
    "form": "quantization",
    **{f"objective.{old}": f"objective.{new}" for old, new in RENAMED.items()},
}
"""Flag or YAML key of version 0.1 -> its name now."""
OLD_VALUES = {"quantization": {"float": "none"}}
"""Flag -> {value of version 0.1: its name now}."""


def take_old_names(values: Any, arguments: Sequence[str]) -> None:
    """Move values from names of version 0.1 to today's, in place, with one line of warning.

    Args:
        values: parsed from the command line and its --config.
        arguments: the command line, with flags as they are declared.
    Raises:
        UserError: a flag is given under both of its names.
    """
    flags = {text.partition("=")[0] for text in arguments}
    for old, new in OLD_FLAGS.items():
        if old in values:
            if {f"--{old}", f"--{new}"} <= flags:
                raise UserError(f"--{old} and --{new} are one flag; give --{new} alone")
            text = f"--{old} is called --{new} now; the old name goes in version 1.0"
            warnings.warn(text, FutureWarning, stacklevel=3)
            value = values.pop(old)
            if f"--{new}" not in flags:  # flags overrule the old name in --config
                values[new] = OLD_VALUES.get(new, {}).get(value, value)
