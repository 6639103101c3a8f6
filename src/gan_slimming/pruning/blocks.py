"""Residual blocks that can become the identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature

from torch import fx

from gan_slimming.graph.nodes import operator_name, value_of
from gan_slimming.pruning.groups import ChannelGroup, ResidualBlock
from gan_slimming.pruning.operators.elementwise import KEEP
from gan_slimming.pruning.operators.spatial import MIX
from gan_slimming.pruning.propagation import Propagation


def residual_blocks(
    walk: Propagation, gated: Mapping[fx.Node, str], groups: Sequence[ChannelGroup]
) -> list[ResidualBlock]:
    """Find the modules that compute `x + branch(x)` and nothing else.

    Args:
        gated: call of a gated layer -> its path.
    """
    blocks = []
    calls = [node for node in walk.graph.nodes if node.op == "call_function"]
    for node in calls:
        if operator_name(node) not in ("add", "add_"):
            continue
        path = walk.path(node)
        inside = {n for n in calls if (walk.path(n) + ".").startswith(path + ".")}
        if not path or any(user in inside for user in node.users):
            continue
        if len(signature(walk.module.get_submodule(path).forward).parameters) != 1:
            continue  # nn.Identity takes one input
        entry = _entry(walk, node, inside)
        if entry is None:
            continue
        branch = next(a for a in node.args[:2] if a is not entry)
        while branch not in gated and operator_name(branch) in KEEP | MIX:  # pyright: ignore
            branch = branch.args[0]  # pyright: ignore[reportAttributeAccessIssue]
        if branch not in gated or value_of(node).shape != value_of(entry).shape:
            continue
        inner = [
            g.name
            for g in groups
            if not g.protected and all(m.tensor.startswith(path + ".") for m in g.members)
        ]
        blocks.append(ResidualBlock(path, gated[branch], inner))  # pyright: ignore
    return blocks


def _entry(walk: Propagation, node: fx.Node, inside: set[fx.Node]) -> fx.Node | None:
    """Return the only input of a block, if the sum adds to that input; else None."""
    sources = {s for n in inside for s in n.all_input_nodes if s not in inside}
    entries = {s for s in sources if s.name not in walk.tensors}
    leaves = {n for n in inside if any(user not in inside for user in n.users)}
    sides = [a for a in node.args[:2] if isinstance(a, fx.Node)]
    if len(entries) != 1 or leaves != {node} or len(sides) != 2 or not entries <= set(sides):
        return None
    return next(iter(entries)) if sides[0] is not sides[1] else None
