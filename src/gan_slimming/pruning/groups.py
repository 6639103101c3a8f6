"""Channel groups: channels of several layers that must live or die together.

A group is found, never declared: every channel of every tensor in the generator's graph is a slot,
each operator joins the slots that it ties together (an addition ties channel i of both sides, a
depthwise convolution its input to its output, ...), and slots that end up joined are one channel.
Channels with the same set of parameter rows and columns form a group. The strict operator table is
in `propagation`; this module holds what comes out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor, nn

GATE = ".gate"
SCALES = ".weight_quantizer.scale", ".output_quantizer.scale"
"""Ends of the names of scales that a student adds to the tensors of its groups."""
Renumber = Callable[[str, int, Tensor], tuple[Tensor, Tensor]]
Numbers = dict[tuple[str, str], tuple[str, int]]
"""(module, its attribute) -> the (tensor, axis) whose channels it counts."""


@dataclass
class Member:
    """Where a group's channels stand on one axis of one parameter or buffer."""

    tensor: str
    """Qualified name, such as 'blocks.3.conv.weight'."""
    axis: int
    positions: Tensor
    """(k,) int64: indices on that axis."""
    channels: Tensor
    """(k,) int64: the channel of the group that each of those indices belongs to."""


@dataclass
class ChannelGroup:
    """Channels that live or die as one. `protected` says why they may not die ('' if they may)."""

    name: str
    channels: int
    members: list[Member] = field(default_factory=list)
    gated: list[Member] = field(default_factory=list)
    """Layers that multiply these channels by the group's gates; `tensor` is '<module>.gate'."""
    protected: str = ""


@dataclass
class ResidualBlock:
    """A module that computes `x + branch(x)`: the identity once its branch is silenced."""

    module: str
    gated: str
    """The gated layer that ends the branch."""
    inner: list[str]
    """Groups that live inside the branch; with one of them empty the branch carries nothing."""


@dataclass
class GroupGraph:
    """All groups of a generator, and what each weight element costs.

    `macs_per_element` maps a weight's name to the multiply-accumulates that one of its elements
    does for one sample at the example's size: output positions for a convolution, input positions
    for a transposed one. The true cost of a layer is that times the number of elements left.
    """

    groups: list[ChannelGroup]
    shapes: dict[str, tuple[int, ...]]
    """Of every parameter and buffer, and of the gate of every gated layer, '<module>.gate'."""
    macs_per_element: dict[str, int]
    output_positions: dict[tuple[str, int], int] = field(default_factory=dict)
    """(weight, its axis of output channels) -> positions of the output, for one sample."""
    blocks: list[ResidualBlock] = field(default_factory=list)
    quantized_layers: list[str] = field(default_factory=list)
    """Convolutions and linear layers that can be quantised, in the order of execution."""
    last_layers: frozenset[str] = frozenset()
    """Of these, the ones behind which there is no other on some way to the output."""
    fixed_macs: int = 0
    """Multiply-accumulates of one sample that no weight's element makes, such as attention's
    products; taken at the teacher's width, so that a budget errs on the safe side."""
    numbers: Numbers = field(default_factory=dict)
    """What the user's modules remember of their numbers of channels."""
    buffers: frozenset[str] = frozenset()
    """Of the tensors in `shapes`, those that are no parameters."""

    @property
    def prunable(self) -> list[ChannelGroup]:
        return [group for group in self.groups if not group.protected]


def alive_counts(graph: GroupGraph, alive: Mapping[str, Tensor]) -> dict[tuple[str, int], int]:
    """How many indices are left on each (tensor, axis) that a group touches.

    Args:
        alive: group name -> (channels,) bool. Groups that are not named are whole.
    """
    left: dict[tuple[str, int], int] = {}
    for group in graph.groups:
        mask = alive.get(group.name)
        for member in group.members:
            key = (member.tensor, member.axis)
            left.setdefault(key, graph.shapes[member.tensor][member.axis])
            if mask is not None:
                left[key] -= int((~mask[member.channels]).sum())
    return left


def elements_left(graph: GroupGraph, alive: Mapping[str, Tensor]) -> dict[str, int]:
    """Number of elements of each parameter or buffer when only the channels in `alive` are kept."""
    counts = alive_counts(graph, alive)
    return {
        name: prod(counts.get((name, axis), size) for axis, size in enumerate(shape))
        for name, shape in graph.shapes.items()
        if not name.endswith(GATE)
    }


def macs_left(graph: GroupGraph, alive: Mapping[str, Tensor]) -> int:
    """True multiply-accumulates of one sample when only the channels in `alive` are kept."""
    elements = elements_left(graph, alive)
    made = sum(factor * elements[name] for name, factor in graph.macs_per_element.items())
    return made + graph.fixed_macs


def parameters_left(graph: GroupGraph, alive: Mapping[str, Tensor]) -> int:
    """Return the trainable numbers of the generator, without quantiser scales and buffers."""
    elements = elements_left(graph, alive).items()
    return sum(n for name, n in elements if name not in graph.buffers and not name.endswith(SCALES))


def activations_left(graph: GroupGraph, alive: Mapping[str, Tensor]) -> int:
    """Numbers that all convolutions write for one sample: what memory traffic grows with."""
    counts = alive_counts(graph, alive)
    return sum(
        positions * counts.get(key, graph.shapes[key[0]][key[1]])
        for key, positions in graph.output_positions.items()
    )


def restrict(graph: GroupGraph, keep: Mapping[str, Tensor]) -> dict[tuple[str, int], Tensor]:
    """Indices to keep on each (tensor, axis): the inverse image of the kept channels.

    Args:
        keep: group name -> (channels,) bool.
    Returns:
        (tensor, axis) -> (k,) int64, ascending.
    """
    masks: dict[tuple[str, int], Tensor] = {}
    for group in graph.groups:
        if group.name not in keep:
            continue
        mask = keep[group.name]
        for member in (*group.members, *group.gated):
            size = graph.shapes[member.tensor][member.axis]
            whole = masks.setdefault(
                (member.tensor, member.axis), torch.ones(size, dtype=torch.bool)
            )
            whole[member.positions] = mask[member.channels]
    return {key: mask.nonzero().flatten() for key, mask in masks.items()}


def shrink_graph(graph: GroupGraph, keep: Mapping[str, Tensor]) -> GroupGraph:
    """The same groups after the channels outside `keep` have been cut out: only renumbered."""
    indices = restrict(graph, keep)

    def renumber(name: str, axis: int, positions: Tensor) -> tuple[Tensor, Tensor]:
        kept = indices.get((name, axis))
        if kept is None:
            return torch.ones_like(positions, dtype=torch.bool), positions
        new = torch.full((graph.shapes[name][axis],), -1, dtype=torch.int64)
        new[kept] = torch.arange(len(kept))
        moved = new[positions]
        return moved >= 0, moved

    groups = []
    for group in graph.groups:
        mask = keep.get(group.name, torch.ones(group.channels, dtype=torch.bool))
        new_channel = mask.cumsum(0) - 1
        members, gated = (
            [_moved(member, renumber, new_channel) for member in side]
            for side in (group.members, group.gated)
        )
        groups.append(ChannelGroup(group.name, int(mask.sum()), members, gated, group.protected))
    shapes = {
        name: tuple(
            len(indices[(name, axis)]) if (name, axis) in indices else size
            for axis, size in enumerate(shape)
        )
        for name, shape in graph.shapes.items()
    }
    return replace(graph, groups=groups, shapes=shapes)


def _moved(member: Member, renumber: Renumber, new_channel: Tensor) -> Member:
    stays, positions = renumber(member.tensor, member.axis, member.positions)
    return Member(member.tensor, member.axis, positions[stays], new_channel[member.channels[stays]])


def drop_modules(graph: GroupGraph, paths: Iterable[str]) -> GroupGraph:
    """The graph without everything that stands inside these modules."""
    prefixes = tuple(path + "." for path in paths)

    def gone(name: str) -> bool:
        return (name + ".").startswith(prefixes)

    groups = []
    for group in graph.groups:
        members = [m for m in group.members if not gone(m.tensor)]
        gated = [m for m in group.gated if not gone(m.tensor)]
        if members or gated:
            groups.append(ChannelGroup(group.name, group.channels, members, gated, group.protected))
    return GroupGraph(
        groups,
        {name: shape for name, shape in graph.shapes.items() if not gone(name)},
        {name: macs for name, macs in graph.macs_per_element.items() if not gone(name)},
        {key: size for key, size in graph.output_positions.items() if not gone(key[0])},
        [block for block in graph.blocks if not gone(block.gated)],
        [layer for layer in graph.quantized_layers if not gone(layer)],
        graph.last_layers,
        graph.fixed_macs,
        {
            place: counted
            for place, counted in graph.numbers.items()
            if not gone(place[0]) and not gone(counted[0])
        },
        graph.buffers,
    )


def owner_of(module: nn.Module, tensor: str) -> tuple[nn.Module, str]:
    """The submodule that holds a parameter or buffer, and the attribute's name there."""
    path, _, attribute = tensor.rpartition(".")
    return module.get_submodule(path), attribute


def describe(groups: Iterable[ChannelGroup]) -> list[dict[str, object]]:
    """Plain rows about groups, for `inspect` and for error texts."""
    return [
        {
            "name": group.name,
            "channels": group.channels,
            "members": sorted({f"{m.tensor}[{m.axis}]" for m in group.members}),
            "gates": [layer.tensor.removesuffix(".gate") for layer in group.gated],
            "protected": group.protected,
        }
        for group in groups
    ]
