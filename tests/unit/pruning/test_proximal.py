"""The proximal step against brute force, and prices and widths against counting."""

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from gan_slimming.pruning.discovery import find_groups
from gan_slimming.pruning.groups import macs_left
from gan_slimming.pruning.proximal import (
    channel_prices,
    cost_of_widths,
    shrink_gates,
    soft_threshold,
    uniform_widths,
)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.7])
@pytest.mark.parametrize("gate", [-2.0, -0.3, -0.1, 0.0, 0.2, 0.30001, 1.9])
def test_soft_threshold_is_the_argmin(gate: float, threshold: float) -> None:
    candidates = torch.linspace(-3, 3, 600_001, dtype=torch.float64)
    values = (candidates - gate).square() / 2 + threshold * candidates.abs()
    best = float(candidates[values.argmin()])
    ours = float(soft_threshold(torch.tensor(gate, dtype=torch.float64), threshold))
    assert ours == pytest.approx(best, abs=1.01e-5)


def test_soft_threshold_reaches_exact_zero_and_keeps_signs() -> None:
    gates = torch.tensor([-0.5, -0.1, 0.1, 0.1000001, 0.5])
    new = soft_threshold(gates, 0.1)
    assert (new == 0).tolist() == [False, True, True, False, False]
    assert torch.equal(new[[0, 4]].sign(), gates[[0, 4]].sign())


def test_shrink_gates_keeps_the_strongest_alive_as_they_were() -> None:
    gates = [torch.tensor([0.1, -0.4, 0.2]), torch.tensor([0.1, 3.0])]
    first, second = shrink_gates(gates, [1.0, 1.0], [2, 1])
    assert torch.equal(first, torch.tensor([0.0, -0.4, 0.2]))
    assert torch.equal(second, torch.tensor([0.0, 2.0]))


def test_shrink_gates_does_not_wear_down_a_group_that_stands_at_its_floor() -> None:
    gate = torch.tensor([0.3, -2.0, 1.0])
    assert torch.equal(shrink_gates([gate], [0.5], [3])[0], gate)
    assert torch.equal(shrink_gates([gate], [0.5], [2])[0], torch.tensor([0.0, -1.5, 0.5]))


def test_shrink_gates_rounds_to_the_nearest_multiple_with_the_strongest() -> None:
    gate = torch.tensor([0.1, -0.4, 0.2, 0.9, -1.0, 0.3])
    up, down, whole = (shrink_gates([gate], [t], [0], 4)[0] for t in (0.35, 0.15, 0.05))
    assert torch.equal(up, torch.tensor([0.0, -0.4, 0.0, 0.9, -1.0, 0.3]))
    assert (down != 0).tolist() == [False, True, False, True, True, True]
    assert (whole != 0).all()


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1)
    )


def test_a_price_is_what_one_channel_costs_relative_to_the_mean() -> None:
    graph = find_groups(net(), (torch.zeros(1, 3, 8, 8),))
    prices = channel_prices(graph.prunable, lambda alive: float(macs_left(graph, alive)))
    units = [64 * (27 + 4), 64 * (8 + 3)]
    mean = (8 * units[0] + 4 * units[1]) / 12
    assert prices == pytest.approx([u / mean for u in units])


def test_uniform_widths_fit_the_target_and_one_more_step_does_not() -> None:
    graph = find_groups(net(), (torch.zeros(1, 3, 8, 8),))

    def measure(alive: Mapping[str, torch.Tensor]) -> float:
        return float(macs_left(graph, alive))

    target = 0.5 * measure({})
    widths = uniform_widths(graph, measure, target)
    assert cost_of_widths(graph, measure, widths) <= target
    wider = {g.name: min(g.channels, widths[g.name] + 2) for g in graph.prunable}
    assert cost_of_widths(graph, measure, wider) > target
    assert uniform_widths(graph, measure, 1e12) == {g.name: g.channels for g in graph.prunable}


def test_a_channel_that_saves_nothing_has_no_price() -> None:
    """Where no group saves anything, all prices are 1; none is negative."""
    groups = find_groups(net(), (torch.zeros(1, 3, 8, 8),)).prunable
    free, dear = groups[0].name, groups[1].name
    assert channel_prices(groups, lambda alive: 5.0) == [1.0, 1.0]
    # The first group's channels cost a thousandth less than nothing.
    prices = channel_prices(
        groups, lambda alive: {free: 1.001, dear: 0.5}.get(next(iter(alive), ""), 1.0)
    )
    assert prices == pytest.approx([0.0, 12 / 4])
    assert channel_prices([], lambda alive: 5.0) == []


def test_uniform_widths_may_cost_the_whole_target() -> None:
    graph = find_groups(net(), (torch.zeros(1, 3, 8, 8),))

    def channels(alive: Mapping[str, torch.Tensor]) -> float:
        return float(sum(mask.sum() for mask in alive.values()))

    for half in (2, 4):
        target = sum(g.channels // half for g in graph.prunable)
        widths = uniform_widths(graph, channels, target)
        assert widths == {g.name: g.channels // half for g in graph.prunable}
    assert uniform_widths(graph, channels, 0) == {g.name: 1 for g in graph.prunable}


def test_shrink_gates_wants_a_threshold_and_a_floor_for_each_group() -> None:
    gate = torch.ones(3)
    for thresholds, floors in (([0.1, 0.1], [0]), ([0.1], [0, 0])):
        with pytest.raises(ValueError, match="zip"):
            shrink_gates([gate], thresholds, floors)


def test_shrink_gates_never_keeps_more_than_there_are() -> None:
    assert torch.equal(shrink_gates([torch.ones(3)], [9.0], [8])[0], torch.ones(3))


def test_shrink_gates_keeps_any_number_by_default() -> None:
    gate = torch.tensor([0.1, 0.2, 0.8, 0.9, 1.0])
    assert torch.equal(shrink_gates([gate], [0.5], [0])[0], soft_threshold(gate, 0.5))
