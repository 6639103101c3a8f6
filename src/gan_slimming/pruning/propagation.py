"""Find the channels of any generator by one walk over its torch.export graph.

Every place of every axis of a parameter is a slot in a union-find forest. Operators carry slots
from tensor to tensor and tie those together that are one channel; what each of them does stands in
the tables of `operators`. What the tables do not know is refused by name, never guessed.

A channel may be removed only when it is exactly zero wherever other channels are mixed with it. The
walk keeps, for every place, which gates would make it zero; where a place is read those gates are
demanded, and where there are none the channel is guarded, with the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import fx, nn

from gan_slimming.config import UserError
from gan_slimming.graph.nodes import Forest, Slots, operator_name, sharing_memory, value_of
from gan_slimming.graph.traced import GATEABLE, OPERATOR, TracedModule
from gan_slimming.pruning.groups import GATE
from gan_slimming.pruning.values import Factor, Value, Zeros, listed


class Propagation(TracedModule):
    """One walk. `values[node]` is what is known of each tensor, a list where a call makes several.

    Attributes:
        axes: (parameter or buffer, axis) -> its slots. Shared tensors stand under one name.
        gates: gate -> its slots; '<layer>.gate', or '<parameter>@<axis>.gate'.
        reads: slots that are mixed with others, and what would make each zero there.
        guarded: slot -> why its channel stays.
        makers: call of a gateable layer -> its path.
        named: slots that went through a call that may name how many they are.
        unusual: whether anything happened beyond the ordinary life of a convolutional net.
    """

    def __init__(self, module: nn.Module, example: tuple[Any, ...], protect: Sequence[str]):
        super().__init__(module, example, protect)
        self.forest, self.zeros = Forest(), Zeros()
        self.values: dict[fx.Node, Value | list[Value]] = {}
        self.axes: dict[tuple[str, int], Slots] = {}
        self.gates: dict[str, Slots] = {}
        self.channel_axes: set[tuple[str, int]] = set()
        self.channel_slots: list[Slots] = []
        self.guarded: dict[int, str] = {}
        self.reads: list[tuple[Slots, np.ndarray]] = []
        self.splits: list[tuple[Slots, list[int]]] = []
        self.named: list[Slots] = []
        self.unusual = False
        self.makers: dict[fx.Node, str] = {}
        self.macs: dict[str, int] = defaultdict(int)
        self.positions: dict[tuple[str, int], int] = defaultdict(int)
        self.quantized: list[str] = []
        self.static: set[fx.Node] = set()
        for node in self.graph.nodes:
            self.visit(node)
        self._resolve_splits()

    # -- the walk ----------------------------------------------------------------------------

    def visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self.values[node] = self._placeholder(node)
        elif node.op == "output":
            for value in self.inputs(node):
                self.guard_all(value, "it is the output")
        else:
            if all(source in self.static for source in node.all_input_nodes):
                self.static.add(node)
            self.values[node] = self._called(node)
            if operator_name(node).endswith("_"):
                self._changed_in_place(node)

    def _called(self, node: fx.Node) -> Value | list[Value]:
        from gan_slimming.pruning.operators import ORDINARY, handler_of

        name, path = operator_name(node), self.path(node)
        if self.protected(name, path):
            return self.barrier(node, "the user protects it")
        if kind := self.kept_whole(path):
            return self.barrier(node, f"nn.{kind} is kept whole")
        handler = handler_of(name)
        live = any(value.factors for value in self.inputs(node))
        ordinary = name in ORDINARY and not self._counts_channels(node)
        if live and not ordinary and node not in self.static:
            self.unusual = True
        if handler is not None:
            return self._settled(handler(self, node))
        if not live:
            return self.barrier(node, "it is a constant")
        if node in self.static or self._all_guarded(node):
            return self.barrier(node, f"operator '{name}' is not understood")
        way = path or OPERATOR + name
        raise UserError(
            f"operator '{name}' in module '{path or type(self.module).__name__}' is not "
            f"understood, so channels cannot be followed through it; exclude it with "
            f"--protect '{way}'"
        )

    def _counts_channels(self, node: fx.Node) -> bool:
        """Whether a number in the call could be made of the number of channels: C, its root, ..."""
        sizes = {size for v in self.inputs(node) for f in v.factors for size in f.slots.shape}
        for number in node.args[:2]:
            if isinstance(number, (int, float)) and number not in (0, 1) and sizes - {1}:
                powers = np.abs(np.array([number, 1 / number, number**2, 1 / number**2], float))
                if any(np.isclose(powers, size, rtol=1e-6).any() for size in sizes - {1}):
                    return True
        return False

    def _settled(self, found: Value | list[Value]) -> Value | list[Value]:
        """Without factors whose channels have all been tied into one, which has to stay."""
        if isinstance(found, list):
            return [value for part in found if isinstance(value := self._settled(part), Value)]
        for factor in found.factors:
            if not factor.varies:
                self.guard(factor.slots, "all its channels are tied into one")
        return Value(tuple(f for f in found.factors if f.varies), found.fixed)

    def inputs(self, node: fx.Node) -> Iterator[Value]:
        """What is known of every tensor that a call takes."""
        for source in node.all_input_nodes:
            yield from listed(self.values[source])

    def value(self, argument: object) -> Value:
        """What is known of one argument; a number is a constant."""
        found = self.values[argument] if isinstance(argument, fx.Node) else Value()
        assert isinstance(found, Value)
        return found

    # -- what operators say about slots ------------------------------------------------------

    def guard(self, slots: Slots, reason: str) -> None:
        for slot in np.unique(slots).tolist():
            self.guarded.setdefault(slot, reason)

    def guard_all(self, value: Value, reason: str) -> None:
        for factor in value.factors:
            self.guard(factor.slots, reason)

    def join(self, left: Slots, right: Slots) -> None:
        self.forest.join(*np.broadcast_arrays(left, right))

    def read(self, factor: Factor) -> None:
        """Other channels are mixed with these: each has to be zero once it is dead."""
        self.reads.append((factor.slots.ravel(), factor.zero.ravel()))

    def channels_on(self, fqn: str, *axes: int) -> None:
        """These axes of a parameter are channels, not rows and columns of a kernel."""
        for axis in axes:
            if (fqn, axis) not in self.axes:  # a single one
                if not isinstance(self.state[fqn], nn.Parameter):
                    continue
                self.axes[(fqn, axis)] = self.forest.fresh(1)
                self.guard(self.axes[(fqn, axis)], "it is a single channel")
            self.channel_axes.add((fqn, axis))

    def are_channels(self, weight: Value, axes: Sequence[int]) -> None:
        """The same for a weight that may be computed."""
        for factor in weight.factors:
            if any(axis in axes for axis in factor.varies):
                self.channel_slots.append(factor.slots.ravel())

    def channel_roots(self) -> Slots:
        """Representatives of all that is a channel of some layer."""
        slots = [*self.channel_slots, *(self.axes[key] for key in self.channel_axes)]
        return np.unique(self.roots(np.concatenate([np.zeros(0, np.int64), *slots])))

    def barrier(self, node: fx.Node, reason: str) -> Value | list[Value]:
        """Nothing is followed through this call: what enters stays, what leaves is fixed."""
        from gan_slimming.pruning.operators.weighted import LAYERS, count

        for value in self.inputs(node):
            self.guard_all(value, reason)
        for source in node.all_input_nodes:
            if source.name in self.tensors:
                fqn = self.tensors[source.name]
                axes = range(min(value_of(source).dim(), 2)) if self.known_tensor(fqn) else ()
                self.channels_on(fqn, *axes)
        if operator_name(node) in LAYERS:
            count(self, node)
        made = node.meta.get("val")
        if isinstance(made, (list, tuple)):
            return [Value(fixed=reason) for _ in made]
        return Value(fixed=reason)

    def known_tensor(self, fqn: str) -> bool:
        """Whether this is a weight of a layer, whose axes are reported even when they all stay."""
        return isinstance(self.state[fqn], nn.Parameter)

    # -- gates -------------------------------------------------------------------------------

    def layer_gate(self, node: fx.Node, slots: Slots, *parameters: object) -> str:
        """The gate of the layer whose forward this call is, '' where none can stand.

        Args:
            slots: of its output channels.
            parameters: arguments of the call, each of which has to be the layer's own.
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
        """The channel that each slot belongs to, after all joins."""
        return self.forest.roots(slots)

    # -- bookkeeping -------------------------------------------------------------------------

    def _placeholder(self, node: fx.Node) -> Value:
        if node.name not in self.tensors:
            if node.name in self.constants:
                self.static.add(node)
                return Value()
            return Value(fixed="it is the input")
        self.static.add(node)
        fqn = self.tensors[node.name]
        shape = value_of(node).shape
        factors = []
        for axis, size in enumerate(shape):
            if size < 2:
                continue
            if (fqn, axis) not in self.axes:
                self.axes[(fqn, axis)] = self.forest.fresh(size)
                if fqn not in self.saved:
                    why = "it meets a buffer that is not saved"
                    self.guard(self.axes[(fqn, axis)], why)
            slots = self.axes[(fqn, axis)]
            grid = slots.reshape([size if a == axis else 1 for a in range(len(shape))])
            factors.append(Factor(grid, np.full_like(grid, self._parameter_zero(fqn, axis, slots))))
        return Value(tuple(factors), "it is a parameter")

    def _parameter_zero(self, fqn: str, axis: int, slots: Slots) -> int:
        """A parameter can be gated where no layer's own gate stands on it."""
        tensor = self.state[fqn]
        owners = [owner for owner, own in self.owners.items() if id(tensor) in own]
        layers = [type(self.module.get_submodule(owner)) for owner in owners]
        if not isinstance(tensor, nn.Parameter) or not tensor.is_floating_point():
            return self.zeros.never("a buffer is added to it")
        if any(layer in GATEABLE for layer in layers):
            return self.zeros.never("its weight is used outside of its layer")
        name = f"{fqn}@{axis}{GATE}"
        self.gates[name] = slots
        return self.zeros.intern(frozenset({name}))

    def _all_guarded(self, node: fx.Node) -> bool:
        kept = self.roots(np.array(list(self.guarded), dtype=np.int64))
        slots = [factor.slots.ravel() for value in self.inputs(node) for factor in value.factors]
        return bool(np.isin(self.roots(np.concatenate(slots)), kept).all())

    def _changed_in_place(self, node: fx.Node) -> None:
        """The tensor itself has another value now; what else reads its memory is not followed."""
        from gan_slimming.pruning.operators import VIEWS, keeps_zero

        target = node.args[0]
        assert isinstance(target, fx.Node)
        aliases = sharing_memory(target, VIEWS)
        same = sharing_memory(target, frozenset())
        for alias in same:
            self.values[alias] = self.values[node]
        if keeps_zero(operator_name(node)):
            return
        late = [
            alias
            for alias in aliases - same
            if self.order[alias] < self.order[node]
            and any(self.order[user] > self.order[node] for user in alias.users)
        ]
        for alias in (*late, node) if late else ():
            for value in listed(self.values[alias]):
                self.guard_all(value, "a part of it is changed in place")

    def _resolve_splits(self) -> None:
        """Where nothing has said which axis of a view counts channels, the longest one does."""
        for slots, axes in self.splits:
            while True:
                roots = self.roots(slots)
                varied = [a for a in axes if bool((roots != roots.take([0], a)).any())]
                if len(varied) < 2:
                    break
                carrier = max(varied, key=lambda axis: (slots.shape[axis], axis))
                for axis in varied:
                    if axis != carrier:
                        self.join(slots.take([0], axis), slots)
