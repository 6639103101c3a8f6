"""The walk over a torch.export graph that finds the channels of any generator.

Operators carry slots from tensor to tensor and tie together those of one channel; the tables in
`operators` describe each of them. Round an operator outside the tables all channels stay; nothing
is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx, nn

from gan_slimming.graph.nodes import Slots, operator_name, sharing_memory, value_of
from gan_slimming.graph.traced import GATEABLE
from gan_slimming.pruning.groups import GATE
from gan_slimming.pruning.operators import ORDINARY, VIEWS, handler_of, keeps_zero
from gan_slimming.pruning.padded_norms import padded_call, padded_norms
from gan_slimming.pruning.propagation import Propagation
from gan_slimming.pruning.slicing import output_axis
from gan_slimming.pruning.values import Factor, Value, listed


def propagate(module: nn.Module, example: tuple[Any, ...], protect: Sequence[str]) -> Propagation:
    """Trace a module and follow every channel through all of its calls.

    Args:
        module, example, protect: as for `discovery.find_groups`.
    Raises:
        UserError: the module cannot be traced.
    """
    walk = Propagation(module, example, protect)
    walk.padded = frozenset(padded_norms(module))
    for node in walk.graph.nodes:
        _visit(walk, node)
    _resolve_splits(walk)
    return walk


def _visit(walk: Propagation, node: fx.Node) -> None:
    if node.op == "placeholder":
        walk.values[node] = _placeholder(walk, node)
    elif node.op == "output":
        for value in walk.inputs(node):
            walk.protect_all(value, "it is the output")
    else:
        if path := _padded_norm(walk, node):
            walk.unusual = True
            walk.values[node] = padded_call(walk, node, path)
            return
        if all(source in walk.static for source in node.all_input_nodes):
            walk.static.add(node)
        walk.values[node] = _called(walk, node)
        if operator_name(node).endswith("_"):
            _changed_in_place(walk, node)


def _padded_norm(walk: Propagation, node: fx.Node) -> str:
    """Return the path of the padded norm that makes a call, '' for none."""
    parts = walk.path(node).split(".")
    paths = (".".join(parts[: depth + 1]) for depth in range(len(parts)))
    return next((path for path in paths if path in walk.padded), "")


def _called(walk: Propagation, node: fx.Node) -> Value | list[Value]:
    name, path = operator_name(node), walk.path(node)
    if walk.protected(name, path):
        return walk.barrier(node, "the user protects it")
    if kind := walk.kept_whole(path):
        return walk.barrier(node, f"nn.{kind} is kept whole")
    handler = handler_of(name)
    live = any(value.factors for value in walk.inputs(node))
    ordinary = name in ORDINARY and not _counts_channels(walk, node)
    if live and not ordinary and node not in walk.static:
        walk.unusual = True
    if handler is not None:
        return _drop_collapsed(walk, handler(walk, node))
    if not live:
        return walk.barrier(node, "it is a constant")
    if node not in walk.static and not _all_protected(walk, node):
        walk.unknown[name].append(path)
    return walk.barrier(node, f"operator '{name}' is not understood")


def _counts_channels(walk: Propagation, node: fx.Node) -> bool:
    """Return whether a number in the call may derive from a number of channels: C, its root, ..."""
    sizes = {size for v in walk.inputs(node) for f in v.factors for size in f.slots.shape}
    for number in node.args[:2]:
        if isinstance(number, (int, float)) and number not in (0, 1) and sizes - {1}:
            powers = np.abs(np.array([number, 1 / number, number**2, 1 / number**2], float))
            if any(np.isclose(powers, size, rtol=1e-6).any() for size in sizes - {1}):
                return True
    return False


def _drop_collapsed(walk: Propagation, found: Value | list[Value]) -> Value | list[Value]:
    """Drop factors whose channels are all tied into one, and protect that one."""
    if isinstance(found, list):
        return [value for part in found if isinstance(value := _drop_collapsed(walk, part), Value)]
    for factor in found.factors:
        if not factor.varies:
            walk.protect(factor.slots, "all its channels are tied into one")
    return Value(tuple(f for f in found.factors if f.varies), found.fixed)


def _placeholder(walk: Propagation, node: fx.Node) -> Value:
    if node.name not in walk.tensors:
        if node.name in walk.constants:
            walk.static.add(node)
            return Value()
        return Value(fixed="it is the input")
    walk.static.add(node)
    fqn = walk.tensors[node.name]
    shape = value_of(node).shape
    factors = []
    for axis, size in enumerate(shape):
        if size < 2:
            continue
        if (fqn, axis) not in walk.axes:
            walk.axes[(fqn, axis)] = walk.forest.fresh(size)
            if fqn not in walk.saved:
                why = "it meets a buffer that is not saved"
                walk.protect(walk.axes[(fqn, axis)], why)
        slots = walk.axes[(fqn, axis)]
        grid = slots.reshape([size if a == axis else 1 for a in range(len(shape))])
        factors.append(Factor(grid, np.full_like(grid, _parameter_zero(walk, fqn, axis, slots))))
    return Value(tuple(factors), "it is a parameter")


def _parameter_zero(walk: Propagation, fqn: str, axis: int, slots: Slots) -> int:
    """Return the zero of a parameter: its own gate, unless the gate of a layer covers it."""
    tensor = walk.state[fqn]
    owners = [owner for owner, own in walk.owners.items() if id(tensor) in own]
    layers = [type(walk.module.get_submodule(owner)) for owner in owners]
    if not isinstance(tensor, nn.Parameter) or not tensor.is_floating_point():
        return walk.zeros.never("a buffer is added to it")
    if any(layer in GATEABLE for layer in layers) and not _can_gate_inputs(walk, fqn, axis):
        return walk.zeros.never("its weight is used outside of its layer")
    name = f"{fqn}@{axis}{GATE}"
    walk.gates[name] = slots
    return walk.zeros.intern(frozenset({name}))


def _can_gate_inputs(walk: Propagation, fqn: str, axis: int) -> bool:
    """Return whether a gate can act on this axis of a layer's weight, that of its inputs.

    It silences channels that are never zero themselves, as behind a sigmoid or added noise.
    """
    path, _, field = fqn.rpartition(".")
    layer = walk.module.get_submodule(path)
    reads = isinstance(layer, nn.modules.conv._ConvNd | nn.Linear) and type(layer) in GATEABLE
    own = reads and field == "weight" and getattr(layer, "groups", 1) == 1
    return own and path not in walk.strangers and axis == 1 - output_axis(layer)


def _all_protected(walk: Propagation, node: fx.Node) -> bool:
    kept = walk.roots(np.array(list(walk.protections), dtype=np.int64))
    slots = [factor.slots.ravel() for value in walk.inputs(node) for factor in value.factors]
    return bool(np.isin(walk.roots(np.concatenate(slots)), kept).all())


def _changed_in_place(walk: Propagation, node: fx.Node) -> None:
    """Update the value of a tensor changed in place, and protect other readers of its memory."""
    target = node.args[0]
    assert isinstance(target, fx.Node)
    aliases = sharing_memory(target, VIEWS)
    same = sharing_memory(target, frozenset())
    for alias in same:
        walk.values[alias] = walk.values[node]
    if keeps_zero(operator_name(node)):
        return
    late = [
        alias
        for alias in aliases - same
        if walk.order[alias] < walk.order[node]
        and any(walk.order[user] > walk.order[node] for user in alias.users)
    ]
    for alias in (*late, node) if late else ():
        for value in listed(walk.values[alias]):
            walk.protect_all(value, "a part of it is changed in place")


def _resolve_splits(walk: Propagation) -> None:
    """Let the longest axis of a split count channels, where no operator has decided it."""
    for slots, axes in walk.splits:
        while True:
            roots = walk.roots(slots)
            varied = [a for a in axes if bool((roots != roots.take([0], a)).any())]
            if len(varied) < 2:
                break
            carrier = max(varied, key=lambda axis: (slots.shape[axis], axis))
            for axis in varied:
                if axis != carrier:
                    walk.join(slots.take([0], axis), slots)
