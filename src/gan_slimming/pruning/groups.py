"""Channel groups: channels of several layers that must live or die together.

Groups are found, never declared. Every channel of every tensor in the graph is a slot, and each
operator joins the slots that it ties together. An addition ties channel i of both sides, a
depthwise convolution its input to its output. Joined slots are one channel. Channels with the same
set of parameter rows and columns form a group. The operator tables are in `operators`; this module
holds the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import prod

import torch
from torch import Tensor, nn

GATE = ".gate"
SCALES = ".weight_quantizer.scale", ".output_quantizer.scale"
"""Suffixes of the scales that a student adds to the tensors of its groups."""
Renumber = Callable[[str, int, Tensor], tuple[Tensor, Tensor]]
Numbers = dict[tuple[str, str], tuple[str, int, Fraction]]
"""(module, attribute) -> the (tensor, axis) whose channels the attribute counts, and how many of
them it counts for each: 1/2 where a convolution's outputs are split into two."""


@dataclass
class Member:
    """The places of a group's channels on one axis of one parameter or buffer."""

    tensor: str
    """Qualified name, such as 'blocks.3.conv.weight'."""
    axis: int
    positions: Tensor
    """(k,) int64: indices on that axis."""
    channels: Tensor
    """(k,) int64: the channel of the group at each of those indices."""


@dataclass
class ChannelGroup:
    """Channels that live or die as one; `protected` is the reason why they must stay, or ''."""

    name: str
    channels: int
    members: list[Member] = field(default_factory=list)
    gated: list[Member] = field(default_factory=list)
    """Layers that multiply these channels by the group's gates; `tensor` is '<module>.gate'."""
    protected: str = ""
    avoid: frozenset[int] = frozenset()
    """Numbers of channels that the forward treats apart, as in `if self.channels == 3`."""


@dataclass
class ResidualBlock:
    """A module that computes `x + branch(x)`, and the identity once its branch is silenced."""

    module: str
    gated: str
    """The gated layer at the end of the branch; '' where no single one silences it."""
    inner: list[str]
    """Groups inside the branch; if one of them is empty, nothing of x reaches the sum by it."""


@dataclass
class GroupGraph:
    """All groups of a generator, and the cost of each weight element.

    `macs_per_element` maps a weight's name to the multiply-accumulates of one element, for one
    sample at the example's size. This is the number of output positions of a convolution, or of
    input positions of a transposed convolution. A layer costs that times the number of elements
    left.
    """

    groups: list[ChannelGroup]
    shapes: dict[str, tuple[int, ...]]
    """Shapes of all parameters and buffers, and of the gates of gated layers, '<module>.gate'."""
    macs_per_element: dict[str, int]
    output_positions: dict[tuple[str, int], int] = field(default_factory=dict)
    """(weight, its axis of output channels) -> positions of the output, for one sample."""
    blocks: list[ResidualBlock] = field(default_factory=list)
    quantized_layers: list[str] = field(default_factory=list)
    """Convolutions and linear layers that can be quantised, in the order of execution."""
    last_layers: frozenset[str] = frozenset()
    """Those of them that reach the output with no other one in between."""
    fixed_macs: int = 0
    """Multiply-accumulates of one sample outside all weights, such as attention's products. Counted
    at the teacher's width, so that a budget errs on the safe side."""
    numbers: Numbers = field(default_factory=dict)
    """Attributes of the user's modules that count channels."""
    buffers: frozenset[str] = frozenset()
    """Names of the buffers in `shapes`."""
    stops_gradients: bool = False
    """Whether the forward has a block of torch.no_grad."""

    @property
    def prunable(self) -> list[ChannelGroup]:
        return [group for group in self.groups if not group.protected]


def alive_counts(graph: GroupGraph, alive: Mapping[str, Tensor]) -> dict[tuple[str, int], int]:
    """Count the indices left on each (tensor, axis) that a group touches.

    Args:
        alive: group name -> (channels,) bool. Groups left out are whole.
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
    """Count the elements of each parameter or buffer with only the channels in `alive`."""
    counts = alive_counts(graph, alive)
    return {
        name: prod(counts.get((name, axis), size) for axis, size in enumerate(shape))
        for name, shape in graph.shapes.items()
        if not name.endswith(GATE)
    }


def macs_left(graph: GroupGraph, alive: Mapping[str, Tensor]) -> int:
    """Count the multiply-accumulates of one sample with only the channels in `alive`."""
    elements = elements_left(graph, alive)
    made = sum(factor * elements[name] for name, factor in graph.macs_per_element.items())
    return made + graph.fixed_macs


def parameters_left(graph: GroupGraph, alive: Mapping[str, Tensor]) -> int:
    """Count the generator's trainable numbers, without quantiser scales and buffers."""
    elements = elements_left(graph, alive).items()
    return sum(n for name, n in elements if name not in graph.buffers and not name.endswith(SCALES))


def activations_left(graph: GroupGraph, alive: Mapping[str, Tensor]) -> int:
    """Count the numbers that all convolutions write for one sample, which drive memory traffic."""
    counts = alive_counts(graph, alive)
    return sum(
        positions * counts.get(key, graph.shapes[key[0]][key[1]])
        for key, positions in graph.output_positions.items()
    )


def restrict(graph: GroupGraph, keep: Mapping[str, Tensor]) -> dict[tuple[str, int], Tensor]:
    """Return the indices to keep on each (tensor, axis): the inverse image of the kept channels.

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
    """Return the same groups, renumbered after the channels outside `keep` have been cut."""
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
        groups.append(replace(group, channels=int(mask.sum()), members=members, gated=gated))
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
    """Return the graph without everything inside these modules."""
    prefixes = tuple(path + "." for path in paths)

    def gone(name: str) -> bool:
        return (name + ".").startswith(prefixes)

    groups = []
    for group in graph.groups:
        members = [m for m in group.members if not gone(m.tensor)]
        gated = [m for m in group.gated if not gone(m.tensor)]
        if members or gated:
            groups.append(replace(group, members=members, gated=gated))
    return GroupGraph(
        groups,
        {name: shape for name, shape in graph.shapes.items() if not gone(name)},
        {name: macs for name, macs in graph.macs_per_element.items() if not gone(name)},
        {key: size for key, size in graph.output_positions.items() if not gone(key[0])},
        [block for block in graph.blocks if not gone(block.module)],
        [layer for layer in graph.quantized_layers if not gone(layer)],
        graph.last_layers,
        graph.fixed_macs,
        {
            place: counted
            for place, counted in graph.numbers.items()
            if not gone(place[0]) and not gone(counted[0])
        },
        graph.buffers,
        graph.stops_gradients,
    )


def owner_of(module: nn.Module, tensor: str) -> tuple[nn.Module, str]:
    """Return the submodule that holds a parameter or buffer, and the attribute's name there."""
    path, _, attribute = tensor.rpartition(".")
    return module.get_submodule(path), attribute


def describe(groups: Iterable[ChannelGroup]) -> list[dict[str, object]]:
    """Return plain rows about groups, for `inspect` and error texts."""
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
