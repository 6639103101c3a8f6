"""The convention of a generator's inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass

from gan_slimming.errors import UserError


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
    size: int = 0
    """The only height and width of the input in pixels; 0 for a generator of any size."""
    scale: int = 1
    """Height and width of the output over those of the input: 4 for x4 super-resolution."""
    latent_size: int = 0
    """Length of the input noise vector; 0 for a generator of images."""
    classes: int = 0
    """Number of classes, given by a second input (batch,) int64; 0 without one."""

    def __post_init__(self) -> None:
        if self.colour_order not in ("RGB", "BGR"):
            raise UserError(f"colour_order must be 'RGB' or 'BGR', got {self.colour_order!r}")
        if not self.low < self.high:
            raise UserError(f"low must be below high, got low={self.low}, high={self.high}")

    def takes(self, side: int) -> bool:
        """Return whether the generator takes images of `side` x `side` pixels."""
        if self.size:
            return side == self.size
        return side % self.multiple_of == 0 and side >= self.min_size

    def next_side(self, side: int) -> int:
        """Return the least side in pixels, not below `side`, that the generator takes.

        One that takes a single size gets that.
        """
        if self.size:
            return self.size
        return -(-max(side, self.min_size) // self.multiple_of) * self.multiple_of

    def check_side(self, side: int) -> None:
        """Raise UserError for images of a side that the generator does not take."""
        if self.size and side != self.size:
            raise UserError(
                f"this generator takes images of {self.size}x{self.size} pixels only, got size "
                f"{side}; write --size {self.size}"
            )
        if not self.takes(side):
            raise UserError(
                f"size must be a multiple of {self.multiple_of} and at least {self.min_size} for "
                f"this generator, got {side}; take {self.next_side(side)}"
            )
