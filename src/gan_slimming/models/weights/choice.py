"""The choice among the state dicts of a file: what fits, averaged weights before raw ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.weights.candidates import Candidate
from gan_slimming.models.weights.matching import Match, match
from gan_slimming.models.weights.names import names_role
from gan_slimming.models.weights.renames import proposed

_NAMED = 8
"""Most candidates named in a text."""


class WeightsWarning(UserWarning):
    """A word on what was taken of a weights file, where there was a choice or a conversion."""


@dataclass(frozen=True)
class Fitted:
    """A candidate, laid over the module that it would give."""

    candidate: Candidate
    module: nn.Module
    """The module, or its like on the meta device."""
    match: Match
    expected: str
    """The module, for texts."""
    arguments: Mapping[str, Any]
    """Arguments by which the module was built."""


Fit = Callable[[Candidate], Fitted]
"""Lays a candidate over a module; raises UserError where none can be built for it."""


def choose(found: Sequence[Candidate], fit: Fit, role: str, path: Path) -> Fitted:
    """Return the candidate that fits; say in one WeightsWarning what was chosen or converted.

    Averaged weights go before raw ones, a key that names the role before others. Averages of the
    parameters alone take the buffers, such as running statistics, of the raw weights.

    Args:
        found: candidates of the file, at least one.
        fit: lays a candidate over its module.
        role: 'generator' or 'discriminator'.
        path: the file, for texts.
    Raises:
        UserError: none fits, or several that differ.
    """
    tried, refusal = _try_all(found, fit)
    fitting = [one for one in tried if one.match.fits]
    fitting += _completed(found, tried, fitting)
    if not fitting:
        raise refusal if not tried else _misfit(tried, role, path)
    best = [one for one in fitting if _rank(one, role) == min(_rank(o, role) for o in fitting)]
    different = _different(best)
    if len(different) > 1:
        keys = ", ".join(one.candidate.label for one in different[:_NAMED])
        raise UserError(
            f"weights file {path} holds several that fit {different[0].expected}: {keys}; name one "
            f"with --weights-key {different[0].candidate.key}"
        )
    _tell(different[0], fitting, path)
    return different[0]


def of_key(found: Sequence[Candidate], key: str, path: Path) -> list[Candidate]:
    """Return the candidates at a key, and those inside; a key may leave out what stands before.

    Raises:
        UserError: the file has no such key.
    """
    for fits in (
        lambda c: c.key == key,
        lambda c: c.key.endswith(f".{key}"),
        lambda c: f".{c.key}.".find(f".{key}.") >= 0,
    ):
        if chosen := [c for c in found if fits(c)]:
            inside = tuple(f"{c.key}." for c in chosen)
            return chosen + [c for c in found if c not in chosen and c.key.startswith(inside)]
    keys = ", ".join(dict.fromkeys(c.label for c in found[:_NAMED]))
    raise UserError(f"weights file {path} has no key {key!r}; it holds {keys}")


def _try_all(found: Sequence[Candidate], fit: Fit) -> tuple[list[Fitted], UserError]:
    """Lay candidates over a module: whole mappings, then parts where these may be needed.

    Returns:
        Those that a module was built for, and why none was for the first of the others.
    """
    tried, refusal = [], UserError("no candidate has names")
    for candidate in sorted(found, key=lambda one: one.part):
        whole_fits = any(one.match.fits and not one.candidate.part for one in tried)
        if candidate.ordered or (candidate.part and whole_fits and not candidate.averaged):
            continue
        try:
            tried.append(fit(candidate))
        except UserError as error:
            refusal = error if not tried else refusal
    return tried, refusal


def _rank(one: Fitted, role: str) -> tuple[bool, bool]:
    """Return the order of preference: averages, then keys that name the role."""
    return not one.candidate.averaged, not names_role(one.candidate.key, role)


def _completed(
    found: Sequence[Candidate], tried: Sequence[Fitted], fitting: Sequence[Fitted]
) -> list[Fitted]:
    """Return averages of parameters alone, with the buffers of the raw weights that fit."""
    raw = next((one for one in fitting if not one.candidate.averaged), None)
    if raw is None:
        return []
    buffers = {name for name, _ in raw.module.named_buffers()}
    made = []
    for one in tried:
        lacks = set(one.match.missing)
        if (
            lacks
            and lacks <= buffers
            and not (one.match.unexpected or any(one.match.wrong.values()))
        ):
            state = one.match.state | {name: raw.match.state[name] for name in lacks}
            made.append(replace(one, match=replace(one.match, state=state, missing=[])))
    for candidate in found:
        if candidate.ordered and (state := _in_order(candidate, raw)):
            made.append(replace(raw, candidate=candidate, match=match(raw.module, state)))
    return made


def _in_order(candidate: Candidate, raw: Fitted) -> dict[str, Tensor] | None:
    """Return the raw weights with parameters of a list in their place; None if shapes differ."""
    tensors = list(candidate.state.values())
    named = dict(raw.module.named_parameters())
    if [t.shape for t in tensors] != [p.shape for p in named.values()]:
        return None
    return raw.match.state | dict(zip(named, tensors, strict=True))


def _different(best: Sequence[Fitted]) -> list[Fitted]:
    """Return one of each group of candidates that hold the same numbers."""
    kept: list[Fitted] = []
    for one in best:
        if not any(_same(one.match.state, other.match.state) for other in kept):
            kept.append(one)
    return kept


def _same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[name] is b[name] or torch.equal(a[name], b[name]) for name in a
    )


def _tell(taken: Fitted, fitting: Sequence[Fitted], path: Path) -> None:
    """Warn in one line of what was taken and left, if there was a choice or a conversion."""
    state = taken.match.state
    left = [one.candidate.label for one in fitting if not _same(one.match.state, state)]
    said = list(taken.match.notes)
    if left:
        kind = " (averaged weights)" if taken.candidate.averaged else ""
        said.insert(0, f"took {taken.candidate.label}{kind}, left {', '.join(left[:_NAMED])}")
        said.append("--weights-key takes another")
    if said:
        warnings.warn(f"weights file {path}: {'; '.join(said)}", WeightsWarning, stacklevel=5)


def _misfit(tried: Sequence[Fitted], role: str, path: Path) -> UserError:
    """Return the error for a file in which nothing fits, about the candidate that comes nearest."""

    def nearness(one: Fitted) -> tuple[int, bool, int]:
        wrong = sum(map(len, one.match.wrong.values()))
        hits = len(one.match.state) - len(one.match.unexpected) - wrong
        return hits, not names_role(one.candidate.key, other), len(one.candidate.state)

    other = "discriminator" if role == "generator" else "generator"
    nearest = max(tried, key=nearness)
    misfits = "; ".join(nearest.match.misfits)
    where = f", {nearest.candidate.key}," if nearest.candidate.key else ""
    advice = f"check that the file belongs to this {role}"
    if pairs := proposed(nearest.module, nearest.candidate.state):
        flags = " ".join(f"{old}={new}" for old, new in pairs)
        advice = f"shapes and order agree, names differ: try --rename {flags}"
    return UserError(
        f"weights file {path}{where} does not fit {nearest.expected}: {misfits}; {advice}"
    )
