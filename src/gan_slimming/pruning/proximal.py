"""The proximal step that makes gates exactly zero, and what a channel of each group costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gan_slimming.pruning.groups import ChannelGroup, GroupGraph

Measure = Callable[[Mapping[str, Tensor]], float]
"""What a student costs when only the channels in group -> (channels,) bool are kept."""


def soft_threshold(gates: Tensor, threshold: Tensor | float) -> Tensor:
    """argmin_z (z - gates)^2 / 2 + threshold * |z|: sign(g) * max(|g| - threshold, 0).

    The proximal operator of the L1 norm, Wang et al. 2020, eq. 10, with threshold = rho * eta, eta
    being the learning rate of the very step that came before.
    """
    return torch.sign(gates) * torch.clamp(gates.abs() - threshold, min=0)


def shrink_gates(
    gates: Sequence[Tensor], thresholds: Sequence[float], floors: Sequence[int], multiple: int = 1
) -> list[Tensor]:
    """Soft threshold of every group's gates, but each keeps its `floors` strongest as they are.

    With `multiple`, a group that the threshold cuts keeps the multiple of that many channels that
    is nearest to what the threshold leaves, the strongest ones.
    """
    shrunk = []
    for gate, threshold, floor in zip(gates, thresholds, floors, strict=True):
        new = soft_threshold(gate, threshold)
        alive = int((new != 0).sum())
        keep = alive if alive == gate.numel() else multiple * round(alive / multiple)
        keep = min(max(keep, floor), gate.numel())
        strongest = gate.abs().topk(keep).indices
        kept = torch.zeros_like(new)
        # Where the threshold asks for more than may go, it must not wear down what stays.
        kept[strongest] = (gate if keep > alive else new)[strongest]
        shrunk.append(kept)
    return shrunk


def channel_prices(groups: Sequence[ChannelGroup], measure: Measure) -> list[float]:
    """What one channel of each group costs now, relative to the mean over all channels.

    The price of a group falls as its neighbours downscale, so prices are taken anew at every step.
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
    """Channels of each prunable group in the uniformly narrow net that costs at most `target`."""

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
    """What the student costs with the first `widths[group]` channels of every prunable group."""
    return measure({g.name: torch.arange(g.channels) < widths[g.name] for g in graph.prunable})
