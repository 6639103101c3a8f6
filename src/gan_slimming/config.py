"""Every setting of a run, checked where it is made. Imports no torch, so that --help is quick."""

from __future__ import annotations

from dataclasses import dataclass


class UserError(Exception):
    """A mistake that the user can mend. Its text is one line: what is wrong, what came, what to do."""


@dataclass(frozen=True)
class InputContract:
    """What a generator takes and gives, so that pictures reach it in the form it was trained on.

    The package's own pictures are RGB in [-1, 1]; conversion happens at the generator's border.
    """

    channels: int = 3
    """Channels of the input picture."""
    low: float = -1.0
    """Value of a black pixel."""
    high: float = 1.0
    """Value of a white pixel."""
    colour_order: str = "RGB"
    """'RGB' or 'BGR'."""
    multiple_of: int = 1
    """Height and width must be multiples of this many pixels."""
    min_size: int = 1
    """Smallest height and width, in pixels, that the generator can take."""

    def __post_init__(self) -> None:
        if self.colour_order not in ("RGB", "BGR"):
            raise UserError(f"colour_order must be 'RGB' or 'BGR', got {self.colour_order!r}")
        if not self.low < self.high:
            raise UserError(f"low must be below high, got low={self.low}, high={self.high}")
