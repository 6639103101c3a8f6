"""The convention of a generator's inputs and outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gan_slimming.errors import UserError

RANGES = {
    "channels": (1, 4096),
    "multiple_of": (1, 4096),
    "min_size": (1, 16384),
    "scale": (1, 64),
    "latent_size": (0, 1 << 20),
    "classes": (0, 1 << 20),
}
"""Field -> least and most; beyond, a damaged file would ask for all memory."""


@dataclass(frozen=True)
class InputContract:
    """The form of a generator's inputs and outputs, as it was trained.

    The package's own images are RGB in [-1, 1]. `data.adapter` converts them.
    """

    channels: int = 3
    """Channels of the input image: 3 in colour, 1 in grey."""
    low: float = -1.0
    """Value of a black pixel."""
    high: float = 1.0
    """Value of a white pixel."""
    colour_order: str = "RGB"
    """Order of the channels: 'RGB' or 'BGR'."""
    multiple_of: int = 1
    """Divisor of the allowed heights and widths, in pixels."""
    min_size: int = 1
    """Least height and width of the input in pixels."""
    scale: int = 1
    """Height and width of the output over those of the input: 4 for x4 super-resolution."""
    latent_size: int = 0
    """Length of the input noise vector; 0 for a generator of images."""
    classes: int = 0
    """Number of classes, given by a second input (batch,) int64; 0 without one."""

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise UserError(f"{name} must be {least} to {most}, got {value}")
        for name in ("low", "high"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise UserError(f"{name} must be a number, got {value}")
        if self.colour_order not in ("RGB", "BGR"):
            raise UserError(f"colour_order must be 'RGB' or 'BGR', got {self.colour_order!r}")
        if not self.low < self.high:
            raise UserError(f"low must be below high, got low={self.low}, high={self.high}")

    @classmethod
    def from_record(cls, record: Any) -> InputContract:
        """Return the contract in a file, of which nothing is trusted.

        Raises:
            UserError: an entry is unknown, of another type, or out of its range.
        """
        if not isinstance(record, dict) or not record.keys() <= cls.__dataclass_fields__.keys():
            raise UserError(f"no contract of inputs and outputs: {str(record)[:80]}")
        return cls(**record)

    def takes(self, side: int) -> bool:
        """Return whether the generator takes images of `side` x `side` pixels."""
        return side % self.multiple_of == 0 and side >= self.min_size

    def next_side(self, side: int) -> int:
        """Return the least side in pixels, not below `side`, that the generator takes."""
        return -(-max(side, self.min_size) // self.multiple_of) * self.multiple_of

    def check_side(self, side: int) -> None:
        """Raise UserError for images of a side that the generator does not take."""
        if not self.takes(side):
            raise UserError(
                f"size must be a multiple of {self.multiple_of} and at least {self.min_size} for "
                f"this generator, got {side}; take {self.next_side(side)}"
            )
