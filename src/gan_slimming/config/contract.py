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
    "scale": (1, 4096),
    "latent_size": (0, 1 << 20),
    "classes": (0, 1 << 20),
    "sample_rate": (1, 1 << 20),
}
"""Field -> least and most; beyond, a damaged file would ask for all memory."""


MOST_ENLARGED = 64
"""Most by which images are enlarged; a signal of frames may become thousands of samples each."""
KINDS = ("label", "vector", "class", "mask", "image", "noise")


@dataclass(frozen=True)
class ExtraInput:
    """A further input of a generator's forward, behind its image."""

    kind: str
    """label (batch, size) of zeros and ones, vector (batch, size) of noise, class (batch,) int64,
    mask (batch, size, height, width) of zeros and ones, or image, a second one of the data."""
    size: int = 1
    """Length of a label or vector, number of classes, or channels of a mask."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"an extra input is one of {', '.join(KINDS)}, got {self.kind!r}")

    def shape(self, batch: int, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of a batch of them, beside images of this size."""
        if self.kind in ("label", "vector"):
            return (batch, self.size)
        if self.kind == "noise":
            return (batch, self.size, width)
        channels = 3 if self.kind == "image" else self.size
        return (batch,) if self.kind == "class" else (batch, channels, height, width)


@dataclass(frozen=True)
class InputContract:
    """The form of a generator's inputs and outputs, as it was trained.

    The package's own images are RGB in [-1, 1]. `data.adapter` converts them. Signals, such as mel
    spectrograms and the waveforms that are made of them, stay as they are.
    """

    channels: int = 3
    """Channels of the input image: 3 in colour, 1 in grey; or of a signal, such as 80 mel bands."""
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

    latent_dims: int = 2
    """Axes of the noise: 2 for (batch, latent_size), 4 for (batch, latent_size, 1, 1)."""
    extras: tuple[ExtraInput, ...] = ()
    """Further inputs of the forward, behind the image."""
    statistics: str = "running"
    """What batch norms normalise by: 'running' statistics, or those of the 'image' itself, as for a
    script that never calls eval()."""
    fixed_noise: bool = False
    """Whether noise that the forward draws is the same for every image."""
    dropout: str = ""
    """'off' where dropout that the forward calls with training=True is left out, '' as it is."""
    output: str = ""
    """Index or key of the image, where the forward returns several things; '' where it is alone."""
    signal: bool = False
    """Whether inputs are signals (batch, channels, length), such as mel spectrograms, and outputs
    are waveforms (batch, channels, scale * length). All sizes are lengths then."""
    sample_rate: int = 22_050
    """Samples of a waveform a second, for its .wav file."""

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise UserError(f"{name} must be {least} to {most}, got {value}")
        for name in ("low", "high"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise UserError(f"{name} must be a number, got {value}")
        extras = (e if isinstance(e, ExtraInput) else ExtraInput(**e) for e in self.extras)
        object.__setattr__(self, "extras", tuple(extras))  # a file has them as dicts
        if self.scale > MOST_ENLARGED and not self.signal:
            raise UserError(f"scale must be 1 to {MOST_ENLARGED} for images, got {self.scale}")
        kinds = {e.kind for e in self.extras}
        if (self.signal or self.latent_size) and kinds & {"mask", "image"}:
            beside = "a signal" if self.signal else "a noise vector"
            raise UserError(f"beside {beside} there is a class, a label or a vector, no image")
        if "noise" in kinds and not self.signal:
            raise UserError("an ExtraInput('noise') stands beside a signal; take 'vector'")
        if self.dropout not in ("", "off"):
            raise UserError(f"dropout must be 'off' or '', got {self.dropout!r}")
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
            what = (
                f"signals of {self.size}" if self.signal else f"images of {self.size}x{self.size}"
            )
            unit = "frames" if self.signal else "pixels"
            raise UserError(
                f"this generator takes {what} {unit} only, got size {side}; write --size "
                f"{self.size}"
            )
        if not self.takes(side):
            raise UserError(
                f"size must be a multiple of {self.multiple_of} and at least {self.min_size} for "
                f"this generator, got {side}; take {self.next_side(side)}"
            )
