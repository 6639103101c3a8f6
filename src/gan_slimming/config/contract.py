"""What a generator takes and gives: the convention at its border."""

from __future__ import annotations

from dataclasses import dataclass

from gan_slimming.errors import UserError


@dataclass(frozen=True)
class InputContract:
    """What a generator takes and gives, so that images reach it in the form it was trained on.

    The package's own images are RGB in [-1, 1]; conversion happens at the generator's border.
    """

    channels: int = 3
    """Channels of the input image: 3, or 1 for a grey one."""
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
    scale: int = 1
    """Height and width of its output over those of its input: 4 for a x4 super-resolution net."""
    latent_size: int = 0
    """Length of the noise vector that it takes instead of an image; 0 where it takes images."""
    classes: int = 0
    """Number of classes, told as a second input of (batch,) int64; 0 where it takes none."""

    def __post_init__(self) -> None:
        if self.colour_order not in ("RGB", "BGR"):
            raise UserError(f"colour_order must be 'RGB' or 'BGR', got {self.colour_order!r}")
        if not self.low < self.high:
            raise UserError(f"low must be below high, got low={self.low}, high={self.high}")

    def takes(self, side: int) -> bool:
        """Return whether the generator takes images of `side` x `side` pixels."""
        return side % self.multiple_of == 0 and side >= self.min_size

    def next_side(self, side: int) -> int:
        """Return the least side in pixels, from `side` on, that the generator takes."""
        return -(-max(side, self.min_size) // self.multiple_of) * self.multiple_of
