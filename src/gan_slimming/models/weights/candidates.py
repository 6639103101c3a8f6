"""State dicts within a checkpoint: every mapping of names to tensors, and parts of flat ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gan_slimming.models.weights.names import canonical, is_averaged
from gan_slimming.models.weights.stand_ins import Array

_DEPTH = 6
"""Most mappings within each other that are looked into."""
_PREFIX_PARTS = 4
"""Most parts of a prefix that may stand before the names of one network in a flat mapping."""
_MOST_PARTS = 60
_LEAST = 2
"""Least number of tensors that share a prefix and may be a network."""


@dataclass(frozen=True)
class Candidate:
    """Tensors that may be those of a network."""

    key: str
    """Where they lie: keys and prefixes, joined by dots; '' for the file itself."""
    state: Mapping[str, Tensor]
    """Name -> tensor."""
    ordered: bool = False
    """Whether the tensors have no names, only an order."""
    part: bool = False
    """Whether they are those behind a prefix of a larger mapping."""

    @property
    def averaged(self) -> bool:
        """Return whether the key says that the weights are averaged over training."""
        return is_averaged(self.key)

    @property
    def label(self) -> str:
        """Return the key, for texts."""
        return self.key or "the file's own tensors"


def candidates(content: Any) -> list[Candidate]:
    """Return all candidates in the content of a file: whole mappings, then parts, large ones first.

    Of very many parts only the largest are taken.
    """
    whole = list(_mappings(content, (), set()))
    parts = [part for candidate in whole for part in _parts(candidate)]
    parts.sort(key=lambda part: -len(part.state))
    return whole + parts[:_MOST_PARTS]


def tensors_of(content: Any) -> dict[str, Tensor]:
    """Return the tensors that lie in a mapping itself, by name; none for anything else."""
    if not isinstance(content, Mapping):
        return {}
    found = {str(key): _tensor(value) for key, value in content.items()}
    return {key: tensor for key, tensor in found.items() if tensor is not None}


def keys_of(content: Any) -> list[str]:
    """Return the keys of a file's outermost mapping."""
    return [str(key) for key in content] if isinstance(content, Mapping) else []


def _mappings(content: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[Candidate]:
    """Yield every mapping, and every list, that holds tensors."""
    if id(content) in seen or len(path) > _DEPTH:
        return
    seen = seen | {id(content)}
    if isinstance(content, Mapping):
        if tensors := tensors_of(content):
            yield Candidate(".".join(path), tensors)
        for key, value in content.items():
            yield from _mappings(value, (*path, str(key)), seen)
    elif isinstance(content, Sequence) and not isinstance(content, str | bytes):
        listed = [t for value in content if (t := _tensor(value)) is not None]
        if len(listed) >= _LEAST and len(listed) == len(content):
            state = {str(place): t for place, t in enumerate(listed)}
            yield Candidate(".".join(path), state, ordered=True)
        for place, value in enumerate(content):
            yield from _mappings(value, (*path, str(place)), seen)


def _tensor(value: Any) -> Tensor | None:
    """Return a tensor, or an array of NumPy as one; None for anything else."""
    if isinstance(value, Array):
        return value.tensor
    return value if isinstance(value, Tensor) else None


def _parts(candidate: Candidate) -> Iterator[Candidate]:
    """Yield the tensors behind each prefix that several of a candidate's names share."""
    if candidate.ordered:
        return
    counts: Counter[str] = Counter()
    state = {canonical(name): tensor for name, tensor in candidate.state.items()}
    for name in state:
        parts = name.split(".")
        for length in range(1, min(len(parts), _PREFIX_PARTS + 1)):
            counts[".".join(parts[:length])] += 1
    for prefix, count in counts.items():
        if count >= _LEAST:
            start = f"{prefix}."
            inside = {
                name.removeprefix(start): tensor
                for name, tensor in state.items()
                if name.startswith(start)
            }
            yield Candidate(f"{candidate.key}.{prefix}".removeprefix("."), inside, part=True)
