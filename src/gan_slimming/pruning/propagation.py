"""The state of a walk over a generator's graph: its channels, gates and protections.

Every place of every axis of a parameter is a slot in a union-find forest. A channel may be removed
only if it is exactly zero wherever other channels are mixed with it. So each place has the gates
that would make it zero. Where a place is read, these gates are required. Where it has none, the
channel is protected, with the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from torch import fx, nn

from gan_slimming.graph.nodes import Forest, Slots, operator_name, value_of
from gan_slimming.graph.traced import GATEABLE, TracedModule
from gan_slimming.pruning.groups import GATE
from gan_slimming.pruning.values import Factor, Value, Zeros, listed

LAYERS = frozenset(
    [f"{kind}{d}d" for kind in ("conv", "conv_transpose") for d in (1, 2, 3)] + ["linear"]
)
"""Operators whose weights cost multiply-accumulates."""


class Propagation(TracedModule):
    """The state of one walk (`walk.propagate`).

    Attributes:
        values: call -> the value of its result, a list if it has several.
        axes: (parameter or buffer, axis) -> its slots. A shared tensor has one name.
        gates: gate -> its slots; '<layer>.gate', or '<parameter>@<axis>.gate'.
        reads: slots that are mixed with others, and the index of the gates that make each zero.
        protections: slot -> why its channel stays.
        makers: call of a gateable layer -> its path.
        named: slots that went through a call which may name their number.
        mixed: modules in which a mean or the like is taken over all channels.
        padded: paths of padded norms (`padded_norms`), each of which counts as one call.
        unknown: operators outside the tables -> the modules that call them.
        unusual: whether the graph goes beyond `operators.ORDINARY`.
    """

    def __init__(self, module: nn.Module, example: tuple[Any, ...], protect: Sequence[str]):
        super().__init__(module, example, protect)
        self.forest, self.zeros = Forest(), Zeros()
        self.values: dict[fx.Node, Value | list[Value]] = {}
        self.axes: dict[tuple[str, int], Slots] = {}
        self.gates: dict[str, Slots] = {}
        self.channel_axes: set[tuple[str, int]] = set()
        self.channel_slots: list[Slots] = []
        self.protections: dict[int, str] = {}
        self.reads: list[tuple[Slots, np.ndarray]] = []
        self.splits: list[tuple[Slots, list[int]]] = []
        self.named: list[Slots] = []
        self.unknown: dict[str, list[str]] = defaultdict(list)
        self.mixed: set[str] = set()
        self.padded: frozenset[str] = frozenset()
        self.unusual = False
        self.makers: dict[fx.Node, str] = {}
        self.macs: dict[str, int] = defaultdict(int)
        self.positions: dict[tuple[str, int], int] = defaultdict(int)
        self.quantized: list[str] = []
        self.static: set[fx.Node] = set()

    def inputs(self, node: fx.Node) -> Iterator[Value]:
        """Yield the value of every tensor argument of a call."""
        for source in node.all_input_nodes:
            yield from listed(self.values[source])

    def value(self, argument: object) -> Value:
        """Return the value of one argument; a number is a constant."""
        found = self.values[argument] if isinstance(argument, fx.Node) else Value()
        assert isinstance(found, Value)
        return found

    # -- slots ------------------------------------------------------------------------------

    def protect(self, slots: Slots, reason: str) -> None:
        for slot in np.unique(slots).tolist():
            self.protections.setdefault(slot, reason)

    def protect_mixed(self, node: fx.Node, slots: Slots, reason: str) -> None:
        """Protect channels of which a call takes a mean or the like, and note down its module."""
        self.mixed.add(self.path(node))
        self.protect(slots, reason)

    def protect_all(self, value: Value, reason: str) -> None:
        for factor in value.factors:
            self.protect(factor.slots, reason)

    def join(self, left: Slots, right: Slots) -> None:
        self.forest.join(*np.broadcast_arrays(left, right))

    def read(self, factor: Factor) -> None:
        """Record that other channels are mixed with these, so each must be zero once it is dead."""
        self.reads.append((factor.slots.ravel(), factor.zero.ravel()))

    def channels_on(self, fqn: str, *axes: int) -> None:
        """Mark axes of a parameter as channels, as opposed to rows and columns of a kernel."""
        for axis in axes:
            if (fqn, axis) not in self.axes:  # an axis of length 1
                if not isinstance(self.state[fqn], nn.Parameter):
                    continue
                self.axes[(fqn, axis)] = self.forest.fresh(1)
                self.protect(self.axes[(fqn, axis)], "it is a single channel")
            self.channel_axes.add((fqn, axis))

    def are_channels(self, weight: Value, axes: Sequence[int]) -> None:
        """Mark axes of a weight as channels, even if the weight is computed."""
        for factor in weight.factors:
            if any(axis in axes for axis in factor.varies):
                self.channel_slots.append(factor.slots.ravel())

    def channel_roots(self) -> Slots:
        """Return the representatives of all slots that are channels of some layer."""
        slots = [*self.channel_slots, *(self.axes[key] for key in self.channel_axes)]
        return np.unique(self.roots(np.concatenate([np.zeros(0, np.int64), *slots])))

    def barrier(self, node: fx.Node, reason: str) -> Value | list[Value]:
        """Follow no channels through this call: protect its inputs, and fix its results."""
        for source in node.all_input_nodes:
            self.keep_whole(source, reason)
        if operator_name(node) in LAYERS:
            self.count_layer(node)
        made = node.meta.get("val")
        if isinstance(made, (list, tuple)):
            return [Value(fixed=reason) for _ in made]
        return Value(fixed=reason)

    def keep_whole(self, source: fx.Node, reason: str) -> None:
        """Protect all channels of a value; those of a parameter are reported, too."""
        for value in listed(self.values[source]):
            self.protect_all(value, reason)
        if source.name in self.tensors:
            fqn = self.tensors[source.name]
            axes = range(min(value_of(source).dim(), 2)) if self.known_tensor(fqn) else ()
            self.channels_on(fqn, *axes)

    def known_tensor(self, fqn: str) -> bool:
        """Return whether this is a parameter, whose axes are reported even if all channels stay."""
        return isinstance(self.state[fqn], nn.Parameter)

    # -- costs -------------------------------------------------------------------------------

    def count_layer(self, node: fx.Node) -> None:
        """Record the cost of one weight element, and whether the layer can be quantised."""
        weight = node.args[1]
        assert isinstance(weight, fx.Node)
        fqn, made = self._stored(weight), value_of(node)
        if fqn is None:
            return
        is_linear, transposed = operator_name(node) == "linear", "transpose" in operator_name(node)
        spot = value_of(node.args[0]) if transposed else made
        pixels, written = (
            (prod(made.shape[1:-1]), prod(made.shape[1:-1]))
            if is_linear
            else (prod(spot.shape[2:]), prod(made.shape[2:]))
        )
        self.macs[fqn] += pixels
        if weight.name not in self.tensors:
            return
        self.positions[(fqn, 1 if transposed else 0)] += written
        path = self.path(node)
        layer = self.module.get_submodule(path)
        own = type(layer) in GATEABLE and layer._parameters.get("weight") is self.state[fqn]
        if own and path not in self.quantized and path not in self.strangers:
            self.quantized.append(path)

    def _stored(self, weight: fx.Node) -> str | None:
        """Return the parameter that a weight is, or is computed from elementwise; None for neither.

        A scaled or modulated weight has its parameter's axes, apart from those of length 1.
        """
        if weight.name in self.tensors:
            return self.tensors[weight.name]
        found, waiting, seen = set(), [weight], set()
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            waiting += node.all_input_nodes
            if node.name in self.tensors and _long_axes(node) == _long_axes(weight):
                found.add(self.tensors[node.name])
        return found.pop() if len(found) == 1 else None

    # -- gates -------------------------------------------------------------------------------

    def layer_gate(self, node: fx.Node, slots: Slots, *parameters: object) -> str:
        """Return the gate of the layer that makes this call, '' if it can have none.

        Args:
            slots: slots of its output channels.
            parameters: arguments of the call, each of which must be the layer's own.
        """
        path = self.path(node)
        layer = self.module.get_submodule(path)
        if type(layer) not in GATEABLE or path in self.strangers:
            return ""
        own = {id(parameter) for parameter in layer.parameters(recurse=False)}
        for argument in parameters:
            if isinstance(argument, fx.Node) and id(self.tensor_of(argument)) not in own:
                return ""
        name = path + GATE
        if name in self.gates:
            self.join(self.gates[name], slots)
        self.gates[name] = slots
        self.makers[node] = path
        return name

    def roots(self, slots: Slots) -> Slots:
        """Return the channel of each slot, after all joins."""
        return self.forest.roots(slots)


def _long_axes(node: fx.Node) -> list[int]:
    return [size for size in value_of(node).shape if size > 1]
