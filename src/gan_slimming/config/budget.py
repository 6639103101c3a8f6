"""The budget of the small generator, and amounts such as 300k."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from gan_slimming.errors import UserError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
"""Suffix of an amount -> factor."""


@dataclass(frozen=True)
class Budget:
    """The budget of the small generator. Name one; a number up to 1 is a fraction of the teacher's.

    Absolute amounts take a suffix: 300k, 2.5M, 1G.
    """

    macs: str | float | None = None
    """Multiply-accumulates (MACs) per image at --size: 0.05 for 5 % of the teacher's, or 2.7G."""
    parameters: str | float | None = None
    """Number of parameters: 0.05 for 5 % of the teacher's, or 600k."""
    bytes: str | float | None = None
    """Size of generator.safetensors in bytes: 0.02 for 2 % of the teacher's in float32, or 300k."""

    def __post_init__(self) -> None:
        named = [f.name for f in dataclasses.fields(self) if getattr(self, f.name) is not None]
        if len(named) > 1:
            raise UserError(f"name one budget, got {' and '.join('budget.' + n for n in named)}")
        for name in named:
            parse_amount(f"budget.{name}", getattr(self, name))

    @property
    def kind(self) -> str | None:
        """Return 'macs', 'parameters', 'bytes', or None without a budget."""
        for f in dataclasses.fields(self):
            if getattr(self, f.name) is not None:
                return f.name
        return None

    def amount(self, whole: float) -> float:
        """Return the absolute budget, for a teacher that costs `whole`."""
        assert self.kind is not None
        value = parse_amount(f"budget.{self.kind}", getattr(self, self.kind))
        return value * whole if value <= 1 else value


def parse_amount(flag: str, value: str | float) -> float:
    """Parse a fraction in (0, 1] or an absolute amount of at least 1000, such as '300k'.

    Raises:
        UserError: any other value; one from 1 to 100 is surely a percentage.
    """
    match = re.fullmatch(r"\s*([0-9.eE+-]+?)\s*([kKmMgGtT]?)i?[bB]?\s*", str(value))
    try:
        number = float(match[1]) * UNITS[match[2].lower()] if match else float("nan")
    except ValueError:
        number = float("nan")
    if 0 < number <= 1 or number >= 1000:
        return number
    hint = f"write {number / 100:g} for {number:g} %" if 1 < number <= 100 else "write 0.05 for 5 %"
    raise UserError(f"{flag} must be in (0, 1] or an amount such as 300k, got {value}; {hint}")
