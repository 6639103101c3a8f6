"""Tensors under other names: given by the user, or proposed where shapes and order agree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.weights.candidates import Candidate
from gan_slimming.models.weights.matching import match
from gan_slimming.models.weights.names import canonical

Pairs = Sequence[tuple[str, str]]
"""(parts of a name in the file, those of the module), such as ('block', 'conv_block')."""
_MOST = 12
"""Most pairs that are proposed."""


def parse_renames(texts: Sequence[str]) -> Pairs:
    """Return the pairs of texts such as 'block=conv_block'.

    Raises:
        UserError: a text without one '='.
    """
    pairs = []
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or "=" in new or not (old or new):
            raise UserError(f"rename must be OLD=NEW, such as block=conv_block; got {text}")
        pairs.append((old.strip("."), new.strip(".")))
    return pairs


def renamed(found: Sequence[Candidate], pairs: Pairs) -> list[Candidate]:
    """Return candidates whose names have NEW for OLD, where OLD is whole parts between dots.

    In each name, every place is replaced once, by the longest OLD that begins there. An empty OLD
    puts NEW in front, an empty NEW takes OLD away.

    Raises:
        UserError: no tensor has OLD in its name.
    """
    used: set[str] = set()
    named = [
        replace(one, state=_renamed(one.state, pairs, used)) for one in found if not one.ordered
    ]
    if unused := {old for old, _ in pairs if old} - used:
        raise UserError(
            f"rename {min(unused)}=...: no tensor has that in its name; names are such as "
            f"{', '.join(list(found[0].state)[:3])}"
        )
    return named


def _renamed(state: Mapping[str, Tensor], pairs: Pairs, used: set[str]) -> dict[str, Tensor]:
    front = "".join(f"{new}." for old, new in pairs if not old)
    table = {old: new for old, new in pairs if old}
    return {
        front + _replaced(canonical(name), table, used): tensor for name, tensor in state.items()
    }


def _replaced(name: str, table: Mapping[str, str], used: set[str]) -> str:
    if not table:
        return name
    longest = sorted(table, key=len, reverse=True)
    pattern = re.compile(rf"(?<![^.])({'|'.join(map(re.escape, longest))})(?![^.])")

    def new(found: re.Match[str]) -> str:
        used.add(found[1])
        return table[found[1]]

    return re.sub(r"\.{2,}", ".", pattern.sub(new, name)).strip(".")


def proposed(module: nn.Module, state: Mapping[str, Tensor]) -> Pairs:
    """Return pairs by which all tensors fit a module; none where shapes or order disagree.

    The shortest pairs that do it: differing parts of names, then those with the part in front,
    then whole layers. Each proposal is tried.
    """
    tried = match(module, state)
    unexpected = [name for name in tried.unexpected if not name.endswith("num_batches_tracked")]
    if tried.wrong["misshapen"] or not unexpected or len(tried.missing) != len(unexpected):
        return ()
    wanted = module.state_dict()
    names = list(zip(unexpected, tried.missing, strict=True))
    if any(tried.state[old].shape != wanted[new].shape for old, new in names):
        return ()
    for before in (0, 1, 2, 99):
        pairs = list(dict.fromkeys(_parts_that_differ(old, new, before) for old, new in names))
        if len(pairs) > _MOST or len({old for old, _ in pairs}) < len(pairs):
            continue
        if match(module, _renamed(state, pairs, set())).fits:
            return pairs
    return ()


def _parts_that_differ(old: str, new: str, before: int) -> tuple[str, str]:
    """Return the parts of two names that differ, with up to so many equal parts in front."""
    a, b = canonical(old).split("."), canonical(new).split(".")
    start = 0
    while start < min(len(a), len(b)) - 1 and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start - 1 and a[-1 - end] == b[-1 - end]:
        end += 1
    first = max(0, start - before)
    return ".".join(a[first : len(a) - end]), ".".join(b[first : len(b) - end])
