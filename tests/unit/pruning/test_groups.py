"""Channel groups: every channel stands in one of them, and counts follow masks."""

import pytest
import torch
from torch import nn

from gan_slimming.metrics.complexity import count
from gan_slimming.models import CartoonGenerator, ResnetGenerator
from gan_slimming.pruning.discovery import find_groups
from gan_slimming.pruning.groups import (
    GroupGraph,
    describe,
    drop_modules,
    elements_left,
    macs_left,
    restrict,
    shrink_graph,
)

EXAMPLE = (torch.zeros(1, 3, 16, 16),)


def random_masks(graph: GroupGraph) -> dict[str, torch.Tensor]:
    masks = {g.name: torch.rand(g.channels) < 0.6 for g in graph.prunable}
    for mask in masks.values():
        mask[0] = True
    return masks


@pytest.mark.parametrize("build", [CartoonGenerator, ResnetGenerator])
def test_every_channel_of_every_tensor_stands_in_exactly_one_group(
    build: type[CartoonGenerator] | type[ResnetGenerator],
) -> None:
    module = build(width=4, blocks=2).eval()
    graph = find_groups(module, EXAMPLE)
    seen: dict[tuple[str, int], list[int]] = {}
    for group in graph.groups:
        for member in group.members:
            seen.setdefault((member.tensor, member.axis), []).extend(member.positions.tolist())
            assert len(member.positions) == len(member.channels)
            assert set(member.channels.tolist()) == set(range(group.channels))
    for name, parameter in module.named_parameters():
        for axis in range(min(parameter.dim(), 2)):
            assert sorted(seen.pop((name, axis))) == list(range(parameter.shape[axis])), name
    assert seen == {}


def test_the_residual_stream_is_one_group_and_prunable(tiny_cartoongan: nn.Module) -> None:
    graph = find_groups(tiny_cartoongan, EXAMPLE)
    stream = [g for g in graph.prunable if any("in_2.weight" in m.tensor for m in g.members)]
    assert len(stream) == 1
    tensors = {m.tensor for m in stream[0].members}
    assert {"conv03_2.weight", "blocks.0.branch.conv_1.weight", "deconv01_1.weight"} <= tensors
    assert stream[0].channels == 16
    assert {b.module for b in graph.blocks} == {"blocks.0", "blocks.1"}


def test_input_and_output_are_protected_with_the_reason(tiny_cartoongan: nn.Module) -> None:
    graph = find_groups(tiny_cartoongan, EXAMPLE)
    reasons = {row["protected"] for row in describe(graph.groups)}
    assert reasons == {"", "it is the input", "it is the output"}


def test_names_are_unique(tiny_cyclegan: nn.Module) -> None:
    names = [g.name for g in find_groups(tiny_cyclegan, EXAMPLE).groups]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("width", [4, 6])
def test_costs_agree_with_an_independent_count(width: int) -> None:
    module = CartoonGenerator(width=width, blocks=2).eval()
    graph, truth = find_groups(module, EXAMPLE), count(module, EXAMPLE)
    assert macs_left(graph, {}) == truth.macs
    assert sum(elements_left(graph, {}).values()) == truth.parameters


def test_a_shrunk_graph_counts_what_the_masked_one_counted(tiny_cartoongan: nn.Module) -> None:
    graph = find_groups(tiny_cartoongan, EXAMPLE)
    masks = random_masks(graph)
    small = shrink_graph(graph, masks)
    assert macs_left(small, {}) == macs_left(graph, masks) < macs_left(graph, {})
    assert elements_left(small, {}) == elements_left(graph, masks)
    for (name, axis), index in restrict(graph, masks).items():
        assert small.shapes[name][axis] == len(index)


def test_shrinking_twice_equals_shrinking_once(tiny_cyclegan: nn.Module) -> None:
    graph = find_groups(tiny_cyclegan, EXAMPLE)
    first = random_masks(graph)
    half = shrink_graph(graph, first)
    second = random_masks(half)
    both = {k: first[k].clone() for k in first}
    for name, mask in both.items():
        mask[mask.nonzero().flatten()[~second[name]]] = False
    twice, once = shrink_graph(half, second), shrink_graph(graph, both)
    assert twice.shapes == once.shapes
    assert elements_left(twice, {}) == elements_left(once, {})


def test_dropping_a_module_forgets_all_that_stands_in_it(tiny_cartoongan: nn.Module) -> None:
    graph = find_groups(tiny_cartoongan, EXAMPLE)
    less = drop_modules(graph, ["blocks.0"])
    assert not any(name.startswith("blocks.0.") for name in less.shapes)
    assert not any(m.tensor.startswith("blocks.0.") for g in less.groups for m in g.members)
    assert [b.module for b in less.blocks] == ["blocks.1"]
    assert macs_left(less, {}) == macs_left(graph, {}) - 2 * 16 * 16 * 9 * 16
