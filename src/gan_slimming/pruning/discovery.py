"""Channel groups, gates and removable residual blocks, from a walked graph."""

from __future__ import annotations

import fnmatch
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.graph.nodes import operator_name
from gan_slimming.graph.traced import GATEABLE, OPERATOR
from gan_slimming.pruning.blocks import residual_blocks
from gan_slimming.pruning.groups import GATE, ChannelGroup, GroupGraph, Member
from gan_slimming.pruning.padded_norms import find_norms, pad_norm
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.pruned_norms import as_if_whole
from gan_slimming.pruning.reparametrised import plain_copy
from gan_slimming.pruning.required_gates import protect_unreadable, required
from gan_slimming.pruning.verify_cut import hold_what_cannot_be_cut
from gan_slimming.pruning.walk import propagate


class UnknownOperatorWarning(UserWarning):
    """A warning of operators that are not in the tables, round which all channels stay."""


def find_groups(
    module: nn.Module, example: tuple[Any, ...], protect: Sequence[str] = ()
) -> GroupGraph:
    """Find the channel groups of a generator.

    Args:
        module: any nn.Module; the walk uses a copy with plain weights, in evaluation mode.
        example: inputs of batch 1 at the size at which costs are counted.
        protect: shell patterns of modules whose channels stay, with everything inside them;
            'operator:NAME' for every call of an operator.
    Raises:
        UserError: a pattern without a match; the module cannot be traced or gives no finite output.
    """
    names = [name for name, _ in module.named_modules(remove_duplicate=False)]
    for pattern in protect:
        if not pattern.startswith(OPERATOR) and not fnmatch.filter(names, pattern):
            raise UserError(
                f"protect names no module of the generator: {pattern!r}; modules are called "
                f"{', '.join(name for name in names if name)[:100]} ..."
            )
    module = plain_copy(module)
    walk = propagate(as_if_whole(module), example, protect)
    _check_operators(walk, protect)
    _warn_of_unknown(walk)
    protect_unreadable(walk)
    gates = required(walk)
    groups = _groups(_rows(walk, gates), _reasons(walk))
    graph = GroupGraph(
        groups, _shapes(walk, gates), dict(walk.macs), dict(walk.positions), [], walk.quantized,
        _last_layers(walk),
        buffers=frozenset(n for n, t in walk.state.items() if not isinstance(t, nn.Parameter)),
        stops_gradients=walk.stops_gradients,
    )  # fmt: skip
    if walk.unusual or walk.named:
        named = set(np.concatenate([np.zeros(0, int), *map(walk.roots, walk.named)]).tolist())
        axes = {key: walk.roots(slots) for key, slots in walk.axes.items()}
        hold_what_cannot_be_cut(module, example, graph, _named_groups(walk, groups, named), axes)
    makers = {node: path for node, path in walk.makers.items() if path + GATE in gates}
    graph.blocks = residual_blocks(walk, makers, graph.groups)
    return graph


def pad_norms(module: nn.Module, example: tuple[Any, ...]) -> None:
    """Let the user's norms over channels take fewer of them, in place (`padded_norms`).

    Args:
        module: with plain weights, in evaluation mode.
        example: as for find_groups.
    """
    own = [m for m in module.modules() if not type(m).__module__.startswith("torch.")]
    if any(not any(isinstance(c, GATEABLE) for c in m.modules()) for m in own):
        walk = propagate(as_if_whole(plain_copy(module)), example, ())
        for path, channels in find_norms(walk).items():
            pad_norm(module.get_submodule(path), channels)


def _check_operators(walk: Propagation, protect: Sequence[str]) -> None:
    calls = [node for node in walk.graph.nodes if node.op == "call_function"]
    present = sorted({OPERATOR + operator_name(node) for node in calls})
    for pattern in protect:
        if pattern.startswith(OPERATOR) and not fnmatch.filter(present, pattern):
            raise UserError(
                f"protect names no operator of the generator: {pattern!r}; there are "
                f"{', '.join(present)[:200]} ..."
            )


def _warn_of_unknown(walk: Propagation) -> None:
    """Warn, once for all places, of operators round which all channels stay."""
    if not walk.unknown:
        return
    places = [
        f"'{name}' in {', '.join(dict.fromkeys(path or 'the generator' for path in paths))[:120]}"
        for name, paths in sorted(walk.unknown.items())
    ]
    warnings.warn(
        f"channels cannot be followed through {'; '.join(places)}, so all stay there; the rest is "
        "pruned",
        UnknownOperatorWarning,
        stacklevel=4,
    )


def _last_layers(walk: Propagation) -> frozenset[str]:
    """Return the quantisable layers that reach the output with no other one in between."""
    found, seen = set(), set()
    waiting = [node for node in walk.graph.nodes if node.op == "output"]
    while waiting:
        node = waiting.pop()
        kind = operator_name(node) if node.op == "call_function" else ""
        path = walk.path(node) if kind.startswith(("conv", "linear")) else ""
        if path in walk.quantized:
            found.add(path)
        elif node not in seen:
            waiting += node.all_input_nodes
        seen.add(node)
    return frozenset(found)


def _rows(walk: Propagation, gates: Iterable[str]) -> dict[int, list[tuple[str, int, int]]]:
    """Map each channel to the (tensor, axis, index) places that it occupies; gates are tensors too.

    Axes without channels of any layer, such as those of kernels, are left out.
    """
    known = walk.channel_roots()
    places = {key: walk.roots(slots) for key, slots in walk.axes.items()}
    places = {key: roots for key, roots in places.items() if np.isin(roots, known).any()}
    # Layers first, in the order of their calls: groups are named after their first gate.
    order = sorted((gate for gate in walk.gates if gate in set(gates)), key=lambda g: "@" in g)
    places |= {(gate, 0): walk.roots(walk.gates[gate]) for gate in order}
    rows: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for (name, axis), roots in places.items():
        for index, root in enumerate(roots.tolist()):
            rows[root].append((name, axis, index))
    return rows


def _reasons(walk: Propagation) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for slot, reason in walk.protections.items():
        reasons.setdefault(walk.forest.find(slot), reason)
    return reasons


def _shapes(walk: Propagation, gates: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor, once, under its first name, and of every gate."""
    names = {name for name, _ in walk.axes} | walk.saved
    seen: set[int] = set()
    shapes = {}
    for name, tensor in walk.state.items():
        if name in names and id(tensor) not in seen:
            seen.add(id(tensor))
            shapes[name] = tuple(tensor.shape)
    return shapes | {gate: (len(walk.gates[gate]),) for gate in sorted(gates)}


def _groups(
    rows: dict[int, list[tuple[str, int, int]]], reasons: dict[int, str]
) -> list[ChannelGroup]:
    """Group the channels that occupy the same axes of the same tensors equally often."""
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
        tensor = (gates or members)[0].tensor
        first = tensor.removesuffix(GATE).partition("@")[0]
        if not gates:
            first = first.rpartition(".")[0] or first
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


def _named_groups(walk: Propagation, groups: Iterable[ChannelGroup], named: set[int]) -> set[str]:
    """Return the groups that went through a call which may name their number of channels."""
    found = set()
    for group in groups:
        member = (group.members or group.gated)[0]
        slots = (
            walk.axes[(member.tensor, member.axis)] if group.members else walk.gates[member.tensor]
        )
        if named & set(walk.roots(slots[member.positions.numpy()]).tolist()):
            found.add(group.name)
    return found
