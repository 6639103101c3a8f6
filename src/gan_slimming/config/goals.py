"""What the user asks of the small generator: a budget that it keeps, or a quality that it has."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from gan_slimming.errors import UserError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
"""Suffix of an amount -> factor."""
MOST_PSNR = 100.0
"""PSNR in dB of equal images, whose ratio is infinite, and the cap of all others."""


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
        for name in _one_of(self, "budget"):
            parse_amount(f"budget.{name}", getattr(self, name))

    @property
    def kind(self) -> str | None:
        """Return 'macs', 'parameters', 'bytes', or None without a budget."""
        return next(iter(_given(self)), None)

    def amount(self, whole: float) -> float:
        """Return the absolute budget, for a teacher that costs `whole`."""
        assert self.kind is not None
        value = parse_amount(f"budget.{self.kind}", getattr(self, self.kind))
        return value * whole if value <= 1 else value


@dataclass(frozen=True)
class Target:
    """The quality of the small generator, in place of a budget: the mean over held-out images.

    Name one. The smallest student found that has it is kept, small in MACs.
    """

    lpips: float | None = None
    """Greatest LPIPS (SqueezeNet) to the teacher, such as 0.1."""
    psnr: float | None = None
    """Least PSNR to the teacher in dB, such as 24."""
    flip: float | None = None
    """Greatest FLIP to the teacher, such as 0.2; needs the extra [flip]."""

    def __post_init__(self) -> None:
        for name in _one_of(self, "target"):
            most = MOST_PSNR if name == "psnr" else 1.0
            example = {"lpips": 0.1, "psnr": 24, "flip": 0.2}[name]
            if not 0 < getattr(self, name) < most:
                raise UserError(
                    f"target.{name} must be above 0 and below {most:g}, got "
                    f"{getattr(self, name)}; such as {example}"
                )

    @property
    def kind(self) -> str | None:
        """Return 'lpips', 'psnr', 'flip', or None without a target."""
        return next(iter(_given(self)), None)

    @property
    def value(self) -> float:
        """Return the number that the user stated."""
        assert self.kind is not None
        return float(getattr(self, self.kind))

    def met(self, value: float) -> bool:
        """Return whether a mean over the held-out images is good enough."""
        return value >= self.value if self.kind == "psnr" else value <= self.value

    def distance(self, value: float) -> float:
        """Return a mean as a share of the distance allowed: 0 for the teacher, 1 at the target.

        PSNR counts by the root of the mean squared error that it stands for.
        """
        if self.kind == "psnr":
            return 10 ** ((self.value - value) / 20)
        return value / self.value


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


def _given(goal: Budget | Target) -> list[str]:
    return [f.name for f in dataclasses.fields(goal) if getattr(goal, f.name) is not None]


def _one_of(goal: Budget | Target, group: str) -> list[str]:
    """Return the fields that are set. Raises UserError for more than one."""
    given = _given(goal)
    if len(given) > 1:
        raise UserError(f"name one {group}, got {' and '.join(f'{group}.{n}' for n in given)}")
    return given
