"""The flags that all commands on a MODEL share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Source:
    """The origin of a MODEL, where its name does not tell it."""

    flat: ClassVar[bool] = True
    """Whether its fields are flags without a prefix."""

    weights: Path | None = None
    """Weights for a NAME or package.module:factory, such as Hayao.pth, instead of :WEIGHTS."""
    generator: str | None = None
    """Factory of a saved generator of your own code, as package.module:factory, such as
    mine.nets:make. A saved file alone never causes an import."""
    generator_args: dict[str, Any] | None = None
    """Arguments of the factory that MODEL names, as JSON, such as '{"width": 32}'. Default: those
    saved with the generator, else the factory's own."""


def options(source: Source | None) -> dict[str, Any]:
    """Return the keyword arguments of a workflow."""
    source = source or Source()
    return {
        "weights": source.weights,
        "factory": source.generator,
        "arguments": source.generator_args,
    }
