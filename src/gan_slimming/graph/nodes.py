"""Helpers for torch.export graphs: the properties of a node, and union-find over slots."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, fx

Slots = np.ndarray


class Forest:
    """A union-find forest over integer slots."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def fresh(self, count: int) -> Slots:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, slot: int) -> int:
        while self.parent[slot] != slot:
            self.parent[slot] = slot = self.parent[self.parent[slot]]
        return slot

    def join(self, left: Slots, right: Slots) -> None:
        """Join two arrays of the same shape, slot by slot."""
        if left.size == 0:
            return
        pairs = np.unique(np.stack([left.ravel(), right.ravel()]), axis=1)
        for a, b in pairs.T.tolist():
            low, high = sorted((self.find(a), self.find(b)))
            self.parent[high] = low

    def roots(self, slots: Slots) -> Slots:
        """Return the representative of every slot, in the same shape."""
        unique, places = np.unique(slots, return_inverse=True)
        found = np.array([self.find(slot) for slot in unique.tolist()], dtype=np.int64)
        return found[places].reshape(slots.shape)


def operator_name(node: fx.Node) -> str:
    """Return the operator's name: 'conv2d' for aten.conv2d.default, 'getitem' for Python's."""
    name = str(node.target)
    return name.split(".")[1] if "." in name else getattr(node.target, "__name__", name)


def value_of(node: object) -> Tensor:
    assert isinstance(node, fx.Node)
    return node.meta["val"]


def module_path(node: fx.Node) -> str:
    """Return the qualified name of the innermost module around a call ('' for the root)."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0].partition("@")[0] if stack else ""


def arguments_of(node: fx.Node) -> dict[str, Any]:
    """Return every argument of a call by its name in the schema, defaults included."""
    schema: Any = getattr(node.target, "_schema", None)
    if schema is None:  # Python's own, such as getitem
        return dict(zip(("self", "index"), node.args, strict=False))
    values = {}
    for position, argument in enumerate(schema.arguments):
        default = node.kwargs.get(argument.name, argument.default_value)
        values[argument.name] = node.args[position] if position < len(node.args) else default
    return values


def sharing_memory(target: fx.Node, views: frozenset[str]) -> set[fx.Node]:
    """Return the calls that share memory with `target`: in place, or through one of `views`."""

    def passes_on(node: fx.Node) -> bool:
        name = operator_name(node)
        return node.op == "call_function" and (name in views or name.endswith("_"))

    while passes_on(target):
        target = target.all_input_nodes[0]
    found, waiting = {target}, [target]
    while waiting:
        source = waiting.pop()
        new = {u for u in source.users if passes_on(u) and u.all_input_nodes[0] is source} - found
        found |= new
        waiting += new
    return found
