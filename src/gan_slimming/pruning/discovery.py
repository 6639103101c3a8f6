"""From a walked graph to channel groups, gates and removable residual blocks."""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, fx, nn

from gan_slimming.config import UserError
from gan_slimming.pruning.groups import GATE, ChannelGroup, GroupGraph, Member, ResidualBlock
from gan_slimming.pruning.propagation import (
    KEEPS_ZERO,
    NORMS,
    Propagation,
    Writer,
    convolution_groups,
    module_path,
    operator_name,
    value_of,
)

GATEABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d)
GATEABLE += (nn.ConvTranspose3d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
GATEABLE += (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
"""Exact types: a subclass may compute something else."""


def find_groups(
    module: nn.Module, example: tuple[Tensor, ...], protect: Sequence[str] = ()
) -> GroupGraph:
    """Channel groups of a generator.

    Args:
        module: any nn.Module, in evaluation mode.
        example: inputs of the size at which costs are counted, batch of one.
        protect: shell patterns of module names whose channels stay.
    Raises:
        UserError: an operator that the table does not know, by name; a pattern without a match.
    """
    names = [name for name, _ in module.named_modules()]
    for pattern in protect:
        if not fnmatch.filter(names, pattern):
            raise UserError(
                f"protect names no module of the generator: {pattern!r}; modules are called "
                f"{', '.join(name for name in names if name)[:100]} ..."
            )
    walk = Propagation(module, example, protect)
    gated = [writer for writer in walk.writers if needs_gate(writer)]
    for writer in gated:
        kind = type(module.get_submodule(writer.module))
        if kind not in GATEABLE:
            walk.guard(writer.slots, f"its writer, in {kind.__name__}, is no layer of a known type")
        elif (
            operator_name(writer.node).startswith("conv_transpose")
            and convolution_groups(writer.node) > 1  # its weight has no axis of all outputs
        ):
            walk.guard(writer.slots, "a grouped transposed convolution writes it")
    shapes = {name: tuple(t.shape) for name, t in module.state_dict(keep_vars=True).items()}
    shapes |= {writer.module + GATE: (len(writer.slots),) for writer in gated}
    rows = _rows(walk, gated)
    groups = _groups(rows, _reasons(walk))
    blocks = _residual_blocks(walk, gated, groups)
    return GroupGraph(groups, shapes, dict(walk.macs), dict(walk.positions), blocks, walk.quantized)


def needs_gate(writer: Writer) -> bool:
    """Whether a zero input would leave this layer's output non-zero where something reads it.

    A convolution needs none when every path from it runs into a normalisation of the same channels
    (which has the gate, and would undo a scale in front of it), nor a depthwise one without bias.
    """
    if writer.is_norm:
        return True
    node = writer.node
    name = operator_name(node)
    depthwise = name != "linear" and convolution_groups(node) == len(writer.slots) > 1
    if depthwise and (len(node.args) < 3 or node.args[2] is None):
        return False
    return not _all_paths_normalised(node, set())


def _all_paths_normalised(node: fx.Node, seen: set[fx.Node]) -> bool:
    for user in node.users:
        if user in seen:
            continue
        seen.add(user)
        name = operator_name(user) if user.op == "call_function" else user.op
        if name in NORMS and name != "group_norm":
            continue
        if name in KEEPS_ZERO or name in ("add", "add_", "sub", "cat", "pixel_shuffle"):
            if not _all_paths_normalised(user, seen):
                return False
        else:
            return False
    return True


def _rows(walk: Propagation, gated: Iterable[Writer]) -> dict[int, list[tuple[str, int, int]]]:
    """Channel -> the (tensor, axis, index) places that it occupies; gates are tensors here too."""
    rows: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    places = dict(walk.axes)
    places |= {(writer.module + GATE, 0): writer.slots for writer in gated}
    for (name, axis), slots in places.items():
        for index, root in enumerate(walk.find(slots)):
            rows[root].append((name, axis, index))
    return rows


def _reasons(walk: Propagation) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for slot, reason in walk.guarded.items():
        reasons.setdefault(walk.forest.find(slot), reason)
    return reasons


def _groups(
    rows: dict[int, list[tuple[str, int, int]]], reasons: dict[int, str]
) -> list[ChannelGroup]:
    """Channels that occupy the same axes of the same tensors, equally often, form one group."""
    by_signature: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for root, places in rows.items():
        signature = tuple(sorted((name, axis) for name, axis, _ in places))
        reason = reasons.get(root, "")
        if not reason and not any(name.endswith(GATE) for name, _, _ in places):
            reason = "nothing in it can carry a gate"
        by_signature[(signature, reason)].append(root)
    groups = []
    for (_, reason), roots in by_signature.items():
        members, gates = _members(rows, sorted(roots))
        first = (gates or members)[0].tensor.rpartition(".")[0]
        groups.append(ChannelGroup(first, len(roots), members, gates, str(reason)))
    return _uniquely_named(groups)


def _members(
    rows: dict[int, list[tuple[str, int, int]]], roots: list[int]
) -> tuple[list[Member], list[Member]]:
    places: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for channel, root in enumerate(roots):
        for name, axis, index in rows[root]:
            places[(name, axis)].append((index, channel))
    members, gates = [], []
    for (name, axis), pairs in places.items():
        table = torch.tensor(sorted(pairs), dtype=torch.int64)
        member = Member(name, axis, table[:, 0].clone(), table[:, 1].clone())
        (gates if name.endswith(GATE) else members).append(member)
    return members, gates


def _uniquely_named(groups: list[ChannelGroup]) -> list[ChannelGroup]:
    seen: dict[str, int] = defaultdict(int)
    for group in groups:
        seen[group.name] += 1
        if seen[group.name] > 1:
            group.name = f"{group.name}#{seen[group.name]}"
    return groups


def _residual_blocks(
    walk: Propagation, gated: Sequence[Writer], groups: Sequence[ChannelGroup]
) -> list[ResidualBlock]:
    """Modules that compute `x + branch(x)` and nothing else, with what silences their branch."""
    gated_nodes = {writer.node: writer.module for writer in gated}
    blocks = []
    for node in walk.graph.nodes:
        if node.op != "call_function" or operator_name(node) not in ("add", "add_"):
            continue
        path = module_path(node)
        inside = {n for n in walk.graph.nodes if n.op == "call_function" and _stands_in(n, path)}
        if not path or any(user in inside for user in node.users):
            continue
        sources = {s for n in inside for s in n.all_input_nodes if s not in inside}
        entries = {s for s in sources if s.name not in walk.tensors}
        leaves = {n for n in inside if any(user not in inside for user in n.users)}
        if len(entries) != 1 or leaves != {node} or not entries <= set(node.args[:2]):
            continue
        branch = next(a for a in node.args[:2] if a not in entries)
        while branch not in gated_nodes and operator_name(branch) in KEEPS_ZERO:
            branch = branch.args[0]
        inner = [
            g.name
            for g in groups
            if not g.protected and all(m.tensor.startswith(path + ".") for m in g.members)
        ]
        if branch in gated_nodes and value_of(node).shape == value_of(next(iter(entries))).shape:
            blocks.append(ResidualBlock(path, gated_nodes[branch], inner))
    return blocks


def _stands_in(node: fx.Node, path: str) -> bool:
    inner = module_path(node)
    return inner == path or inner.startswith(path + ".")
