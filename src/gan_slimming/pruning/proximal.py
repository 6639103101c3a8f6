"""The proximal step that makes gates exactly zero, and the price of a group's channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gan_slimming.pruning.groups import ChannelGroup, GroupGraph

Measure = Callable[[Mapping[str, Tensor]], float]
"""Cost of a student as a function of its kept channels, group -> (channels,) bool."""


def soft_threshold(gates: Tensor, threshold: Tensor | float) -> Tensor:
    """Return argmin_z (z - gates)^2 / 2 + threshold * |z|: sign(g) * max(|g| - threshold, 0).

    The proximal operator of the L1 norm, Wang et al. 2020, eq. 10, with threshold = rho * eta. eta
    is the learning rate of the gradient step just taken.
    """
    return torch.sign(gates) * torch.clamp(gates.abs() - threshold, min=0)


def shrink_gates(
    gates: Sequence[Tensor], thresholds: Sequence[float], floors: Sequence[int], multiple: int = 1
) -> list[Tensor]:
    """Soft-threshold every group's gates, but keep at least its `floors` strongest.

    A group that the threshold cuts keeps the nearest multiple of `multiple` channels, the strongest
    ones.
    """
    shrunk = []
    for gate, threshold, floor in zip(gates, thresholds, floors, strict=True):
        new = soft_threshold(gate, threshold)
        alive = int((new != 0).sum())
        keep = alive if alive == gate.numel() else multiple * round(alive / multiple)
        keep = min(max(keep, floor), gate.numel())
        strongest = gate.abs().topk(keep).indices
        kept = torch.zeros_like(new)
        # If the threshold would remove too many, it must not weaken those that stay.
        kept[strongest] = (gate if keep > alive else new)[strongest]
        shrunk.append(kept)
    return shrunk


def channel_prices(groups: Sequence[ChannelGroup], measure: Measure) -> list[float]:
    """Return the cost of one channel of each group, relative to the mean over all channels.

    A group's price falls as its neighbours shrink, so prices are computed anew at every step.
    """
    whole = measure({})
    unit = []
    for group in groups:
        mask = torch.ones(group.channels, dtype=torch.bool)
        mask[-1] = False
        unit.append(max(whole - measure({group.name: mask}), 0.0))
    counts = [group.channels for group in groups]
    mean = sum(u * n for u, n in zip(unit, counts, strict=True)) / max(sum(counts), 1)
    return [u / mean if mean > 0 else 1.0 for u in unit]


def uniform_widths(graph: GroupGraph, measure: Measure, target: float) -> dict[str, int]:
    """Return the channels per prunable group of a uniformly narrow network within `target`."""

    def widths(ratio: float) -> dict[str, int]:
        return {g.name: max(1, int(ratio * g.channels)) for g in graph.prunable}

    low, high = 0.0, 1.0
    if cost_of_widths(graph, measure, widths(high)) <= target:
        return widths(high)
    for _ in range(30):
        middle = (low + high) / 2
        if cost_of_widths(graph, measure, widths(middle)) <= target:
            low = middle
        else:
            high = middle
    return widths(low)


def cost_of_widths(graph: GroupGraph, measure: Measure, widths: Mapping[str, int]) -> float:
    """Return the cost with the first `widths[group]` channels of every prunable group."""
    return measure({g.name: torch.arange(g.channels) < widths[g.name] for g in graph.prunable})
