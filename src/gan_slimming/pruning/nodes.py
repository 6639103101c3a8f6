"""Small tools of the walk over a torch.export graph: what a node is, and which slots are joined."""

from __future__ import annotations

import numpy as np
from torch import Tensor, fx

Slots = np.ndarray


class Forest:
    """Union-find over slots."""

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
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self.parent[high] = low


def operator_name(node: fx.Node) -> str:
    """'conv2d' for aten.conv2d.default."""
    return str(node.target).split(".")[1] if "." in str(node.target) else str(node.target)


def value_of(node: object) -> Tensor:
    assert isinstance(node, fx.Node)
    return node.meta["val"]


def module_path(node: fx.Node) -> str:
    """Qualified name of the innermost module that the call stands in ('' for the root)."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return stack[-1][0].partition("@")[0] if stack else ""


def convolution_groups(node: fx.Node) -> int:
    """`groups` is the seventh argument of every aten convolution, transposed or not."""
    groups = node.args[6] if len(node.args) > 6 else 1
    assert isinstance(groups, int)
    return groups
