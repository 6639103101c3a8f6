"""Residual blocks that can become the identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import signature

from torch import fx

from gan_slimming.graph.nodes import arguments_of, operator_name, value_of
from gan_slimming.pruning.groups import GATE, ChannelGroup, ResidualBlock
from gan_slimming.pruning.operators.elementwise import keeps_zero
from gan_slimming.pruning.operators.spatial import MIX
from gan_slimming.pruning.propagation import LAYERS, Propagation

SUMS = frozenset({"add", "add_", "sub", "sub_"})
COPIES = frozenset({"clone", "contiguous", "alias", "detach"})


def residual_blocks(
    walk: Propagation, gated: Mapping[fx.Node, str], groups: Sequence[ChannelGroup]
) -> list[ResidualBlock]:
    """Find the modules that compute `x + branch(x)` and nothing else.

    The branch may be scaled, as in `x + 0.2 * branch(x)`, and there may be several, one behind the
    other. The input itself must be neither scaled nor computed on.

    Args:
        gated: call of a gated layer -> its path.
    """
    blocks = []
    calls = [node for node in walk.graph.nodes if node.op == "call_function"]
    for node in calls:
        path = walk.path(node)
        if operator_name(node) not in SUMS or not path:
            continue
        if len(signature(walk.module.get_submodule(path).forward).parameters) != 1:
            continue  # nn.Identity takes one input
        inside = {n for n in calls if (walk.path(n) + ".").startswith(path + ".")}
        entry = _entry(walk, node, inside)
        added = None if entry is None else _added(node, entry, inside)
        if entry is None or not added or value_of(node).shape != value_of(entry).shape:
            continue
        if not any(operator_name(n) in LAYERS for n in inside):
            continue
        end = _gated_end(added[0], gated) if len(added) == 1 else None
        own = [
            g
            for g in groups
            if not g.protected and all(m.tensor.startswith(path + ".") for m in g.members)
        ]
        inner = [
            g.name for g in own if not _carries(added, entry, inside, _silenced(walk, gated, g))
        ]
        blocks.append(ResidualBlock(path, gated[end] if end else "", inner))
    return blocks


def _entry(walk: Propagation, node: fx.Node, inside: set[fx.Node]) -> fx.Node | None:
    """Return the only input of a block whose only result is this sum; else None."""
    sources = {s for n in inside for s in n.all_input_nodes if s not in inside}
    entries = {s for s in sources if s.name not in walk.tensors}
    leaves = {n for n in inside if any(user not in inside for user in n.users)}
    return next(iter(entries)) if len(entries) == 1 and leaves == {node} else None


def _added(node: fx.Node, entry: fx.Node, inside: set[fx.Node]) -> list[fx.Node] | None:
    """Return all that is added to the block's input on its way to this value; None if it is not."""
    if node is entry or node not in inside:
        return [] if node is entry else None
    if operator_name(node) in COPIES:
        return _added(node.all_input_nodes[0], entry, inside)
    for kept, branch in _splits(node):
        found = _added(kept, entry, inside)
        if found is not None:
            return [*found, branch]
    return None


def _splits(node: fx.Node) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Yield the ways to read a call as an unscaled value, and another one that is added to it."""
    if operator_name(node) not in SUMS:
        return
    left, right = node.args[:2]
    if isinstance(left, fx.Node) and isinstance(right, fx.Node) and left is not right:
        yield left, right
        if operator_name(node).startswith("add") and arguments_of(node).get("alpha", 1) == 1:
            yield right, left


def _gated_end(branch: fx.Node, gated: Mapping[fx.Node, str]) -> fx.Node | None:
    """Return the gated call that makes this value zero everywhere; None if there is none."""
    if branch in gated:
        return branch
    name = operator_name(branch)
    if name.removesuffix("_") == "mul":
        ends = (_gated_end(a, gated) for a in branch.args[:2] if isinstance(a, fx.Node))
        return next((end for end in ends if end is not None), None)
    if keeps_zero(name) or name in MIX or name.removesuffix("_") == "div":
        source = branch.args[0]
        return _gated_end(source, gated) if isinstance(source, fx.Node) else None
    return None


def _silenced(walk: Propagation, gated: Mapping[fx.Node, str], group: ChannelGroup) -> set[fx.Node]:
    """Return the calls whose whole result is zero once the group is empty."""
    whole = {m.tensor for m in group.gated if len(m.positions) == len(walk.gates[m.tensor])}
    return {node for node, path in gated.items() if path + GATE in whole}


def _carries(
    added: Sequence[fx.Node], entry: fx.Node, inside: set[fx.Node], silenced: set[fx.Node]
) -> bool:
    """Return whether a branch still depends on the block's input without these calls."""
    waiting, seen = list(added), set(silenced)
    while waiting:
        node = waiting.pop()
        if node is entry:
            return True
        if node in seen:
            continue
        seen.add(node)
        waiting += node.all_input_nodes if node in inside else []
    return False
