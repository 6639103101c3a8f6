"""The gates that are required, and the channels that stay because no gate would silence them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gan_slimming.pruning.groups import GATE
from gan_slimming.pruning.propagation import Propagation


def required(walk: Propagation) -> set[str]:
    """Return the gates of channels that may die; layers that share a tensor are gated together."""
    kept = walk.roots(np.array(list(walk.protections), dtype=np.int64))
    channels = np.setdiff1d(walk.channel_roots(), kept)
    gates: set[str] = set()
    for slots, zero in walk.reads:
        free = np.isin(walk.roots(slots), channels)
        for number in np.unique(zero[free]).tolist():
            gates |= walk.zeros.table[number][0] or frozenset()
    return gates | _partners(walk, gates)


def protect_unreadable(walk: Propagation) -> None:
    """Protect channels that are read where no gates make them zero."""
    for slots, zero in walk.reads:
        for number in np.unique(zero).tolist():
            gates, why = walk.zeros.table[number]
            if gates is None:
                walk.protect(slots[zero == number], why)


def _partners(walk: Propagation, gates: Iterable[str]) -> set[str]:
    """Return the gates, and those of layers that share a parameter with a gated layer."""
    found = set(gates)
    while True:
        shared: set[int] = set()
        for gate in found:
            shared |= walk.owners.get(gate.removesuffix(GATE), set())
        shared.discard(id(None))
        more = {
            gate for gate in walk.gates if shared & walk.owners.get(gate.removesuffix(GATE), set())
        }
        if more <= found:
            return found
        found |= more
