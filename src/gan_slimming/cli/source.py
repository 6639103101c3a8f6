"""The flags that every command on a MODEL shares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Source:
    """Where a MODEL comes from, as far as its name does not say."""

    flat: ClassVar[bool] = True
    """Its fields are flags as they stand, without a prefix."""

    weights: Path | None = None
    """Weights for a NAME or package.module:factory, instead of :WEIGHTS."""
    generator: str | None = None
    """package.module:factory of a saved generator of your own; a file alone never makes anything
    be imported."""
    generator_args: dict[str, Any] | None = None
    """Arguments of the factory that MODEL names, as JSON, such as '{"width": 32}'; a saved
    generator knows its own."""


def options(source: Source | None) -> dict[str, Any]:
    """The same as keywords of a workflow."""
    source = source or Source()
    return {
        "weights": source.weights,
        "factory": source.generator,
        "arguments": source.generator_args,
    }
