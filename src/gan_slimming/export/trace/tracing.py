"""The calls of a generator, and the numbers in them that follow the size of its input.

torch.export traces the generator at two batches and sizes, far apart. Numbers that agree are the
generator's own. A number that differs and that the file needs is looked up in a third trace, with
symbols for batch, height and width. Its expression there has to give both numbers observed, or the
generator is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import gcd
from typing import Any, NamedTuple

import torch
from torch import SymFloat, SymInt, Tensor, fx, nn

from gan_slimming.errors import UserError
from gan_slimming.export.trace.memory import check_in_place, refusal
from gan_slimming.export.trace.programs import Shapes, export
from gan_slimming.graph.nodes import operator_name

RESHAPES = frozenset({"view", "reshape", "flatten", "unflatten", "view_as", "reshape_as"})
"""Operators whose numbers follow from the shapes before and after."""
FROZEN = (
    "takes a number of the image's size that tracing froze; compute it from x.shape with +, -, "
    "*, // and math.floor, without int, round and math.sqrt"
)
OTHERWISE = (
    "is not called in the same way at every size of the image; do the same at each, or say which "
    "sizes the generator takes with multiple_of in its contract"
)


class Side(NamedTuple):
    """The length of one axis: in the first trace, in the second, and as a symbol if one is needed.

    A side that is the same in both traces is fixed.
    """

    first: int
    second: int
    symbol: SymInt | None = None

    @property
    def fixed(self) -> bool:
        return self.first == self.second


def sides_of(node: object) -> tuple[Side, ...]:
    """Return the shape of a call's value; each axis is fixed or follows the input's size."""
    assert isinstance(node, fx.Node)
    return node.meta["sides"]


def kept(source: Sequence[Side], target: Sequence[Side], axis: int) -> bool:
    """Return whether a reshaped value has the same length along an axis as before."""
    return axis < len(source) and source[axis][:2] == target[axis][:2]


def free_axes(source: Sequence[Side], target: Sequence[Side]) -> list[int]:
    """Return the axes of a reshaped value that are neither fixed nor as long as before."""
    axes = range(len(target))
    return [a for a in axes if not target[a].fixed and not kept(source, target, a)]


def expression(number: Any) -> Any:
    """Return the sympy expression behind a symbol; numbers stay as they are."""
    return number.node.expr if isinstance(number, SymInt | SymFloat) else number


def trace_calls(
    module: nn.Module, first: Shapes, others: Sequence[Shapes]
) -> torch.export.ExportedProgram:
    """Trace a generator with the first shapes, and put symbols where numbers follow the size.

    `sides_of` tells the shapes of its nodes at any size.

    Args:
        others: shapes to compare with; the first that the generator takes is used.
    Raises:
        UserError: it cannot be traced, makes other calls at another size, freezes a number of the
            size, or writes into a value that is read elsewhere.
    """
    one = export(module, first)
    other, second = _first_taken(module, others)
    check_in_place(one.graph)
    try:
        _Comparison(one.graph, other.graph).write()
    except NeedsSymbols:
        free = export(module, second, symbols=True)
        _Comparison(one.graph, other.graph, _Symbols(free.graph, first, second)).write()
    for node in _placeholders(one.graph):
        name = one.graph_signature.inputs_to_lifted_tensor_constants.get(node.name, "")
        value, seen = one.constants.get(name), other.constants.get(name)
        if isinstance(value, Tensor) and isinstance(seen, Tensor) and not torch.equal(value, seen):
            raise refusal(next(iter(node.users)), FROZEN)
    return one


def _first_taken(
    module: nn.Module, trials: Sequence[Shapes]
) -> tuple[torch.export.ExportedProgram, Shapes]:
    for shapes in trials[:-1]:
        try:
            return export(module, shapes), shapes
        except UserError:
            continue
    return export(module, trials[-1]), trials[-1]


def calls(graph: fx.Graph) -> list[fx.Node]:
    """Return the calls that make tensors in use, in order; arithmetic of sizes is left out."""
    operations = (n for n in graph.nodes if n.op == "call_function" and n.users)
    return [n for n in operations if isinstance(n.meta.get("val"), Tensor | list | tuple)]


class NeedsSymbols(Exception):
    """The signal that the file needs a number that follows the size."""


class _Symbols:
    """The calls of the symbolic trace, and its symbols' values in the first and second trace."""

    def __init__(self, graph: fx.Graph, first: Shapes, second: Shapes) -> None:
        self.graph = graph
        self.pairs: dict[Any, tuple[int, int]] = {}
        self._seen: dict[tuple[Any, int], Any] = {}
        sources = _placeholders(graph)[-len(first) :]  # inputs stand behind the parameters
        for node, *shapes in zip(sources, first.values(), second.values(), strict=True):
            for length, *pair in zip(node.meta["val"].shape, *shapes, strict=True):
                if isinstance(length, SymInt):
                    self.pairs[expression(length)] = (pair[0], pair[1])

    def at(self, number: Any, place: int) -> Any:
        """Evaluate an expression in the first trace (place 0), the second (-1), or n steps on (n).

        Steps start at the first trace and are the largest that lead to the second.
        """
        whole = expression(number)
        if (whole, place) not in self._seen:
            ends = {s: (one, gcd(one, other), other) for s, (one, other) in self.pairs.items()}
            values = {s: z if place < 0 else a + place * b for s, (a, b, z) in ends.items()}
            self._seen[whole, place] = whole.subs(values) if hasattr(whole, "subs") else None
        return self._seen[whole, place]

    def check(self, number: Any, one: Any, other: Any) -> bool:
        """Return whether an expression has these values in the first and the second trace."""
        pairs = ((self.at(number, 0), one), (self.at(number, -1), other))
        return all(
            seen is not None and seen.is_number and abs(float(seen) - value) <= 1e-9 * abs(value)
            for seen, value in pairs
        )

    def is_fixed(self, number: Any) -> bool:
        """Return whether a number is the same at every size; two traces may agree by chance."""
        symbol = isinstance(number, SymInt | SymFloat)
        return not symbol or len({self.at(number, place) for place in (0, 1, 2, 3, 5, 7)}) == 1


class _Comparison:
    """The first trace beside the second one, and beside the symbolic one if there is one."""

    def __init__(self, one: fx.Graph, other: fx.Graph, free: _Symbols | None = None) -> None:
        self.free = free
        graphs = [one, other, *([free.graph] if free else [])]
        columns = [[*_placeholders(g), *(n for n in calls(g) if not _is_whole(n))] for g in graphs]
        self.rows = list(zip(*columns, strict=False))
        signatures = [_told(nodes) for nodes in columns]
        for nodes, rows in zip(self.rows, zip(*signatures, strict=False), strict=True):
            if len(set(rows)) > 1:
                raise refusal(nodes[0], OTHERWISE)
        if len({len(nodes) for nodes in columns}) > 1:
            raise refusal(self.rows[-1][0], OTHERWISE)

    def write(self) -> None:
        """Give every node of the first trace its sides and symbols.

        Raises:
            NeedsSymbols: the symbolic trace is needed but absent.
        """
        for nodes in self.rows:
            node = nodes[0]
            node.meta["sides"] = self.shape(node, [n.meta["val"] for n in nodes])
            if node.op == "placeholder":
                continue
            if operator_name(node) not in RESHAPES:
                self.update(nodes)
            elif self.free is None and len(free_axes(sides_of(node.args[0]), sides_of(node))) > 1:
                raise NeedsSymbols

    def shape(self, node: fx.Node, values: Sequence[Any]) -> Any:
        """Return the sides of a tensor, or of each tensor in a list."""
        if isinstance(values[0], list | tuple):
            return [self.shape(node, tensors) for tensors in zip(*values, strict=False)]
        if not isinstance(values[0], Tensor):
            return ()
        if len({value.dim() for value in values}) > 1:
            raise refusal(node, "drops an axis at one batch and keeps it at another")
        sides = []
        for lengths in zip(*(value.shape for value in values), strict=True):
            one, other, *symbols = lengths
            right = one != other and self.free is not None
            right = right and all(self.free.check(s, one, other) for s in symbols)  # pyright: ignore
            sides.append(Side(one, other, symbols[0] if right else None))
        return tuple(sides)

    def update(self, nodes: Sequence[fx.Node]) -> None:
        """Put symbols into a call; defaults are spelt out, because a trace leaves some out."""
        node = nodes[0]
        schema: Any = getattr(node.target, "_schema", None)
        if schema is None:
            return
        spelt = list(schema.arguments)
        rows = [[_given(n, a, place) for n in nodes] for place, a in enumerate(spelt)]
        merged = [self.merge(node, row) for row in rows]
        if any(value is not row[0] for value, row in zip(merged, rows, strict=True)):
            pairs = list(zip(spelt, merged, strict=True))
            node.args = tuple(value for a, value in pairs if not a.kwarg_only)
            node.kwargs = {a.name: value for a, value in pairs if a.kwarg_only}

    def merge(self, node: fx.Node, arguments: Sequence[Any]) -> Any:
        """Return the first trace's arguments, with symbols for those that follow the size."""
        first, second, *third = arguments
        if isinstance(first, list | tuple):
            if len({len(a) for a in arguments}) > 1:
                raise refusal(node, "takes another number of values at another size")
            merged = [self.merge(node, row) for row in zip(*arguments, strict=True)]
            return first if all(a is b for a, b in zip(merged, first, strict=True)) else merged
        if isinstance(first, fx.Node):
            return first
        free = third[0] if third else None
        number = free.meta["val"] if isinstance(free, fx.Node) else free
        if first == second and (self.free is None or self.free.is_fixed(number)):
            return first
        if self.free is None:
            raise NeedsSymbols
        if not self.free.check(number, first, second):
            raise refusal(node, FROZEN)
        return number


def _is_whole(node: fx.Node) -> bool:
    """Return whether a node slices a whole axis, which only a trace with symbols contains."""
    return (
        node.op == "call_function"
        and operator_name(node) == "slice"
        and node.args[2:] == (0, 2**63 - 1)
    )


def _told(nodes: Sequence[fx.Node]) -> list[tuple[str, tuple[int, ...]]]:
    """Return the operator of each call, and the places of the values that it reads."""
    places = {node: place for place, node in enumerate(nodes)}

    def read(node: fx.Node) -> Iterator[int]:
        for source in node.all_input_nodes:
            while _is_whole(source):
                source = source.all_input_nodes[0]
            if source in places:
                yield places[source]

    return [(f"{node.op} {node.target}", tuple(read(node))) for node in nodes]


def _given(node: fx.Node, argument: Any, place: int) -> Any:
    """Return a call's value for an argument of its schema."""
    if place < len(node.args):
        return node.args[place]
    return node.kwargs.get(argument.name, argument.default_value)


def _placeholders(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "placeholder"]
