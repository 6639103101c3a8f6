"""Calls that write into memory, which ONNX lacks: no other call may read that memory afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import fx

from gan_slimming.errors import UserError
from gan_slimming.graph.nodes import module_path, operator_name


def refusal(node: fx.Node, what: str) -> UserError:
    """Return the refusal of a call that no file can hold, with its name and place."""
    module = module_path(node) or "the generator"
    return UserError(f"operator '{operator_name(node)}' in module '{module}' {what}")


def check_in_place(graph: fx.Graph) -> None:
    """Refuse a write into memory that is read again, because ONNX has values, not memory."""
    nodes = list(graph.nodes)
    for place, node in enumerate(nodes):
        if node.op != "call_function" or not writes(node):
            continue
        family = set(_family(node))
        later = (n for n in nodes[place + 1 :] if not family.isdisjoint(n.all_input_nodes))
        if next(later, None) is not None:
            raise refusal(
                node, "writes into a value that is read elsewhere; make a new one, with torch.cat "
                "or torch.where"
            )  # fmt: skip


def writes(node: fx.Node) -> bool:
    """Return whether a call changes its first argument."""
    schema: Any = getattr(node.target, "_schema", None)
    first = next(iter(schema.arguments), None) if schema is not None else None
    return first is not None and first.alias_info is not None and first.alias_info.is_write


def _shares(node: fx.Node) -> bool:
    """Return whether a result shares its first argument's memory: a view, a piece, a write."""
    schema: Any = getattr(node.target, "_schema", None)
    if node.op != "call_function" or schema is None:
        return node.op == "call_function" and operator_name(node) == "getitem"
    return any(value.alias_info is not None for value in schema.returns)


def _family(node: fx.Node) -> Iterator[fx.Node]:
    """Yield all values that share memory with a write's target, other than through the write."""
    root: Any = node.args[0]
    while _shares(root):
        root = root.args[0]
    waiting = [root]
    while waiting:
        member = waiting.pop()
        yield member
        waiting += [u for u in member.users if u is not node and _shares(u) and u.args[0] is member]
