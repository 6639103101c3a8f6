"""Checks of single settings. Every refusal says what was expected and what came."""

from __future__ import annotations

import dataclasses
import math
from typing import get_args, get_type_hints

from gan_slimming.errors import UserError

MOST_SIDE = 8192
"""Largest side of an image in pixels."""
MOST_THREADS = 1024
MOST_COUNT = 10**9
"""Largest number of steps, images, channels or the like."""
NUMBERS: dict[str, tuple[int, int]] = {
    "size": (1, MOST_SIDE),
    "threads": (1, MOST_THREADS),
    "workers": (1, MOST_THREADS),
    "seed": (0, 2**62),
}
"""Number -> least and most; all others are counts."""


def check_numbers(**numbers: int | None) -> None:
    """Raise UserError for numbers that are too small, or that no machine has room for.

    Args:
        numbers: name -> value; None is right. Names not in NUMBERS are counts of 1 or more.
    """
    for name, value in numbers.items():
        least, most = NUMBERS.get(name, (1, MOST_COUNT))
        check_between(name, value, least, most)


def check_between(name: str, value: int | None, least: int, most: int) -> None:
    """Raise UserError for a number outside [least, most]; None is right."""
    if value is not None:
        check(value >= least, name, value, f"at least {least}")
        check(value <= most, name, value, f"at most {most:,}")


def check_finite(settings: object, prefix: str = "") -> None:
    """Raise UserError for a number that is infinite or none."""
    for f in dataclasses.fields(settings):  # pyright: ignore[reportArgumentType]
        value = getattr(settings, f.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{prefix}{f.name} must be a finite number, got {value}")


def check_choice(settings: object, field_name: str, name: str) -> None:
    """Raise UserError unless a field has one of the values of its Literal type."""
    choices = get_args(get_type_hints(type(settings))[field_name])
    value = getattr(settings, field_name)
    check(value in choices, name, value, f"one of {', '.join(choices)}")


def check(holds: bool, name: str, value: object, expected: str) -> None:
    """Raise UserError, with what was expected and what came, unless a condition holds."""
    if not holds:
        raise UserError(f"{name} must be {expected}, got {value}")
