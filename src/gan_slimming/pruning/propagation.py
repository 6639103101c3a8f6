"""Find the channel groups of any generator from its torch.export graph.

Every channel of every tensor is a slot in a union-find forest. An operator of the table below joins
slots or makes fresh ones; what the table does not know is refused by name, never guessed. A channel
may be removed only when it is exactly zero wherever it is read, which its gates see to: a gate
stands on every layer whose output would not be zero for a zero input, except where a normalisation
that is itself gated stands behind it.
"""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor, fx, nn

from gan_slimming.config import UserError
from gan_slimming.pruning.nodes import (
    Forest,
    Slots,
    convolution_groups,
    module_path,
    operator_name,
    value_of,
)

KEEPS_ZERO = frozenset(
    "relu relu_ leaky_relu leaky_relu_ relu6 hardtanh hardtanh_ tanh elu elu_ selu gelu silu silu_ "  # noqa: SIM905
    "hardswish mish neg abs dropout feature_dropout clone contiguous detach alias to _to_copy "
    "upsample_nearest2d upsample_bilinear2d avg_pool2d adaptive_avg_pool2d max_pool2d "
    "reflection_pad2d replication_pad2d constant_pad_nd pad".split()
)
NORMS = frozenset({"instance_norm", "batch_norm", "group_norm"})
CONVOLUTIONS = frozenset(
    {f"conv{d}d" for d in (1, 2, 3)} | {f"conv_transpose{d}d" for d in (1, 2, 3)} | {"linear"}
)


@dataclass
class Writer:
    """A call of a layer that gates could stand on."""

    node: fx.Node
    module: str
    slots: Slots
    is_norm: bool


class Propagation:
    """One walk over the graph. `channels[node]` holds the slots of the node's axis 1."""

    def __init__(self, module: nn.Module, example: tuple[Tensor, ...], protect: Sequence[str]):
        self.module = module
        self.protect = protect
        self.forest = Forest()
        self.channels: dict[fx.Node, Slots] = {}
        self.axes: dict[tuple[str, int], Slots] = {}
        self.writers: list[Writer] = []
        self.guarded: dict[int, str] = {}
        self.macs: dict[str, int] = defaultdict(int)
        self.positions: dict[tuple[str, int], int] = defaultdict(int)
        self.quantized: list[str] = []
        try:
            program = torch.export.export(module, example, strict=False)
        except Exception as error:  # torch.export raises many kinds; each means the same to a user
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"the generator's graph cannot be traced (torch.export: {first})"
            ) from error
        signature = program.graph_signature
        self.tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.graph = program.graph
        for node in self.graph.nodes:
            self.visit(node)

    def find(self, slots: Slots) -> list[int]:
        """The channel that each slot belongs to, after all joins."""
        return [self.forest.find(slot) for slot in slots.tolist()]

    def visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if node.name not in self.tensors:
                self.opaque(node, "it is the input")
        elif node.op == "output":
            for value in node.all_input_nodes:
                self.guard(self.channels.get(value), "it is the output")
        else:
            name = operator_name(node)
            path = module_path(node)
            if any(fnmatch.fnmatch(path, pattern) for pattern in self.protect):
                self.barrier(node, "the user protects it")
            elif name in KEEPS_ZERO:
                self.keep_zero(node, name)
            elif handler := getattr(self, f"visit_{name}", None):
                handler(node)
            elif name in NORMS:
                self.visit_norm(node, name)
            elif name in CONVOLUTIONS:
                self.visit_convolution(node, name)
            else:
                raise UserError(
                    f"operator '{name}' in module '{path or type(self.module).__name__}' is not "
                    "understood, so channels cannot be followed through it; exclude it with "
                    f"--protect '{path or '*'}'"
                )

    # -- what operators do to slots ----------------------------------------------------------

    def keep_zero(self, node: fx.Node, name: str) -> None:
        source = node.args[0]
        slots = self.channels.get(source) if isinstance(source, fx.Node) else None
        if slots is None:
            return
        self.channels[node] = slots
        low = [*node.args, 0.0][1] if name.startswith("hardtanh") else 0.0
        if isinstance(low, (int, float)) and low > 0:
            self.guard(slots, "it is clamped above zero")
        if name in ("pad", "constant_pad_nd"):
            pads, *rest = node.args[1:]
            mode = rest[0] if name == "pad" and rest else "constant"
            value = rest[-1] if mode == "constant" and rest else 0.0
            assert isinstance(pads, Sequence)
            if mode == "constant" and isinstance(value, (int, float)) and value != 0.0:
                self.guard(slots, "it is padded with a value other than zero")
            if len(pads) > 2 * (value_of(source).dim() - 2):
                self.barrier(node, "its channels are padded")

    def visit_add(self, node: fx.Node) -> None:
        self.joined(node, keeps_zero=False)

    visit_add_ = visit_sub = visit_sub_ = visit_add

    def visit_mul(self, node: fx.Node) -> None:
        self.joined(node, keeps_zero=True)

    visit_mul_ = visit_mul

    def visit_div(self, node: fx.Node) -> None:
        if isinstance(node.args[1], fx.Node):
            self.guard(self.channels.get(node.args[1]), "it is divided by")
        self.joined(node, keeps_zero=True)

    def joined(self, node: fx.Node, *, keeps_zero: bool) -> None:
        """Elementwise operator of two values: channel i of both is one channel."""
        dims = value_of(node).dim()
        width = value_of(node).shape[1] if dims > 1 else 0
        full, foreign = [], False
        for side in (a for a in node.args[:2] if isinstance(a, fx.Node)):
            shape = value_of(side).shape
            own = self.channels.get(side)
            axis = len(shape) - dims + 1  # where broadcasting puts the channels
            if own is not None and len(shape) == dims and len(own) == width:
                full.append(own)
            elif axis >= 0 and len(shape) > axis and shape[axis] == width > 1:
                foreign = True
                self.guard(own, "it meets channels on another axis")
        if not full:
            self.barrier(node, "it is spread over channels")
            return
        for other in full[1:]:
            self.forest.join(full[0], other)
        self.channels[node] = full[0]
        if foreign:
            self.guard(full[0], "a value of fixed channels that is no feature map meets it")
        elif len(full) < 2 and not keeps_zero:
            self.guard(full[0], "something other than a tensor of the same channels is added to it")

    def visit_cat(self, node: fx.Node) -> None:
        parts, axis = node.args[0], node.args[1] if len(node.args) > 1 else 0
        assert isinstance(parts, Sequence)
        slots = []
        for part in parts:
            assert isinstance(part, fx.Node)
            if part not in self.channels:
                self.opaque(part, "it is a constant")
            slots.append(self.channels[part])
        if axis in (1, 1 - value_of(node).dim()):
            self.channels[node] = np.concatenate(slots)
            return
        for other in slots[1:]:
            self.forest.join(slots[0], other)
        self.channels[node] = slots[0]

    def visit_pixel_shuffle(self, node: fx.Node) -> None:
        factor = node.args[1]
        assert isinstance(factor, int)
        blocks = self.slots_of(node.args[0]).reshape(-1, factor * factor)
        for column in range(1, factor * factor):
            self.forest.join(blocks[:, 0], blocks[:, column])
        self.channels[node] = blocks[:, 0]

    def visit_prelu(self, node: fx.Node) -> None:
        slope = node.args[1]
        assert isinstance(slope, fx.Node)
        self.channels[node] = self.slots_of(node.args[0])
        if value_of(slope).numel() > 1:
            self.on_axis(self.tensors[slope.name], 0, self.channels[node])

    def visit_norm(self, node: fx.Node, name: str) -> None:
        slots = self.slots_of(node.args[0])
        parameters = [a for a in node.args[1:] if isinstance(a, fx.Node)]
        if any(p.name not in self.tensors for p in parameters):
            self.barrier(node, "its scale or shift is computed in the forward pass")
            return
        for parameter in parameters:
            if value_of(parameter).dim() == 1:
                self.on_axis(self.tensors[parameter.name], 0, slots)
        if name == "group_norm":
            count = node.args[1]
            assert isinstance(count, int)
            self.guard(slots, f"a normalisation over {count} sets of channels reads it")
        self.channels[node] = slots
        self.write(node, slots, is_norm=True)

    def visit_convolution(self, node: fx.Node, name: str) -> None:
        source, weight = node.args[0], node.args[1]
        assert isinstance(source, fx.Node)
        assert isinstance(weight, fx.Node)
        if weight.name not in self.tensors:
            self.barrier(node, "its weight is computed in the forward pass")
            return
        transposed = name.startswith("conv_transpose")
        fqn, shape = self.tensors[weight.name], value_of(weight).shape
        groups = 1 if name == "linear" else convolution_groups(node)
        inside = self.channels[source]
        if name == "linear" and value_of(source).dim() != 2:
            self.barrier(node, "it is a linear layer on more than vectors")
            return
        outside = self.forest.fresh(shape[1] * groups if transposed else shape[0])
        in_axis, out_axis = (0, 1) if transposed else (1, 0)
        if groups == 1:
            self.on_axis(fqn, in_axis, inside)
            self.on_axis(fqn, out_axis, outside)
        else:
            self.grouped(fqn, groups, inside, outside, transposed)
        bias = node.args[2] if len(node.args) > 2 else None
        if isinstance(bias, fx.Node):
            self.on_axis(self.tensors[bias.name], 0, outside)
        spot = source if transposed else node
        self.macs[fqn] += prod(value_of(spot).shape[2:])
        self.positions[(fqn, out_axis)] += prod(value_of(node).shape[2:])
        self.channels[node] = outside
        owner = fqn.rpartition(".")[0]
        if module_path(node) == owner and owner not in self.quantized:
            self.quantized.append(owner)
        self.write(node, outside, is_norm=False)

    def grouped(
        self, fqn: str, groups: int, inside: Slots, outside: Slots, transposed: bool
    ) -> None:
        """Grouped: channel i of every group is one channel; depthwise ties in to out."""
        inputs, outputs = inside.reshape(groups, -1), outside.reshape(groups, -1)
        if inputs.shape[1] == 1 and outputs.shape[1] == 1:
            self.forest.join(inside, outside)
            self.on_axis(fqn, 0, inside)
            return
        for row in range(1, groups):
            self.forest.join(inputs[0], inputs[row])
            self.forest.join(outputs[0], outputs[row])
        if transposed:
            self.on_axis(fqn, 0, inside)
            self.on_axis(fqn, 1, outputs[0])
        else:
            self.on_axis(fqn, 0, outside)
            self.on_axis(fqn, 1, inputs[0])

    # -- bookkeeping --------------------------------------------------------------------------

    def slots_of(self, node: object) -> Slots:
        assert isinstance(node, fx.Node)
        return self.channels[node]

    def on_axis(self, fqn: str, axis: int, slots: Slots) -> None:
        """Tie an axis of a parameter to slots; a layer that is called twice joins both calls."""
        if (fqn, axis) in self.axes:
            self.forest.join(self.axes[(fqn, axis)], slots)
        else:
            self.axes[(fqn, axis)] = slots

    def write(self, node: fx.Node, slots: Slots, *, is_norm: bool) -> None:
        self.writers.append(Writer(node, module_path(node), slots, is_norm))

    def guard(self, slots: Slots | None, reason: str) -> None:
        for slot in () if slots is None else slots.tolist():
            self.guarded.setdefault(slot, reason)

    def opaque(self, node: fx.Node, reason: str) -> None:
        value = node.meta.get("val")
        if isinstance(value, Tensor) and value.dim() > 1:
            self.channels[node] = self.forest.fresh(value.shape[1])
            self.guard(self.channels[node], reason)

    def barrier(self, node: fx.Node, reason: str) -> None:
        for source in node.all_input_nodes:
            self.guard(self.channels.get(source), reason)
        self.opaque(node, reason)
