"""Groups that one number of a module counts, tied to one group.

Where each of several layers is split by the same pair, as `torch.split(x, (self.kept, self.passed),
dim=1)`, no part can lose a channel alone. Channel i of all parts of one length then lives or dies
together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import nn

from gan_slimming.pruning.groups import ChannelGroup, Member


def tied_groups(
    module: nn.Module, groups: Sequence[ChannelGroup], held: Iterable[ChannelGroup]
) -> dict[str, list[ChannelGroup]]:
    """Map the first name of each tie to its groups, at least one of which is held.

    They lie inside one module of the user's, and have as many channels as one of its attributes
    says; innermost modules come first.
    """
    names, taken = {group.name for group in held}, set[str]()
    own = [
        (path, set(filter(lambda v: type(v) is int and v > 1, vars(child).values())))
        for path, child in module.named_modules()
        if not type(child).__module__.startswith("torch.")
    ]
    ties = {}
    for path, counts in sorted(own, key=lambda pair: -len(pair[0])):
        inside = path + "." if path else ""
        alike: dict[int, list[ChannelGroup]] = defaultdict(list)
        for group in groups:
            places = (m.tensor for m in (*group.members, *group.gated))
            if group.channels in counts and all(p.startswith(inside) for p in places):
                alike[group.channels].append(group)
        for same in alike.values():
            found = [g for g in same if not g.protected and g.name not in taken]
            if len(found) > 1 and names & {g.name for g in found}:
                ties[found[0].name] = found
                taken |= {g.name for g in found}
    return ties


def tie(groups: Sequence[ChannelGroup]) -> ChannelGroup:
    """Return one group whose channel i is channel i of each of these."""
    members, gated = (
        _joined([m for g in groups for m in getattr(g, side)]) for side in ("members", "gated")
    )
    return replace(groups[0], members=members, gated=gated)


def _joined(members: Iterable[Member]) -> list[Member]:
    """Return the members with one for each (tensor, axis), in the order of its positions."""
    places: dict[tuple[str, int], list[Member]] = defaultdict(list)
    for member in members:
        places[(member.tensor, member.axis)].append(member)
    joined = []
    for (tensor, axis), parts in places.items():
        positions = torch.cat([part.positions for part in parts])
        order = positions.argsort()
        channels = torch.cat([part.channels for part in parts])[order]
        joined.append(Member(tensor, axis, positions[order], channels))
    return joined
