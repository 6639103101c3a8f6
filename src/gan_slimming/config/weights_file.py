"""A weights file, and what to take of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WeightsFile:
    """A weights file, and what to take of it where that is not clear."""

    path: str | Path | None
    """The file; None where NAME:WEIGHTS names it."""
    key: str | None = None
    """Where the tensors lie in it, such as 'G_A' or 'state_dict.generator'; None finds out."""
    rename: Sequence[str] = ()
    """Parts of names in the file and in the generator: 'block=conv_block'."""

    @classmethod
    def of(cls, weights: str | Path | WeightsFile | None) -> WeightsFile:
        """Return a path as a weights file; one that is one already stays."""
        return weights if isinstance(weights, WeightsFile) else cls(weights)

    def __fspath__(self) -> str:
        """Return the path, so that pathlib takes it."""
        return str(self.path)

    def __str__(self) -> str:
        """Return the path, for texts."""
        return str(self.path)
