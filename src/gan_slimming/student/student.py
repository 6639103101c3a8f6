"""The student: a copy of the teacher with gates on channel groups and quantisers on layers.

With quantisers off and all gates at 1, student(x) == teacher(x). A channel with a gate of zero is
dead; `surgery` cuts it out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import bits_of_weights
from gan_slimming.data.whole_copy import detach_kept
from gan_slimming.errors import UserError
from gan_slimming.graph.contexts import ThroughNoGrad
from gan_slimming.pruning.discovery import find_groups, pad_norms
from gan_slimming.pruning.groups import GATE, GroupGraph, drop_modules
from gan_slimming.pruning.reparametrised import plain_copy
from gan_slimming.pruning.slicing import mark_affine, norm_width
from gan_slimming.quantization.fake_quant import (
    ActivationQuantizer,
    Quantizer,
    WeightQuantizer,
)
from gan_slimming.student.gates import LayerGate, gate_parameter, on_cpu
from gan_slimming.student.layers import SLIM, SlimConvolution, to_slim
from gan_slimming.student.places import holders_of, like, replace_module
from gan_slimming.student.quantizers import drop_quantizers, quantize_layer, quantize_output


class Student(nn.Module):
    """A generator on its way from dense to small.

    Attributes:
        module: the user's generator with slim layers; call it like the teacher.
        graph: its channel groups, at their present size.
        gates: one vector per prunable group, in the order of `graph.prunable`.
        through_no_grad: whether blocks of torch.no_grad in its forward are passed over.
        identities: residual blocks that have become the identity.
        kept: the channel map: group -> the teacher's channels that are left.
    """

    def __init__(self, module: nn.Module, graph: GroupGraph):
        super().__init__()
        self.module = module
        self.graph = graph
        self.gates = nn.ParameterList(
            torch.ones(group.channels).to(like(module)) for group in graph.prunable
        )
        self.identities: list[str] = []
        self.through_no_grad = False
        self.kept = {group.name: torch.arange(group.channels) for group in graph.groups}
        self.connect()

    def forward(self, *inputs: Tensor) -> Tensor:
        """Run the generator, gated and quantised."""
        if self.through_no_grad and torch.is_grad_enabled():
            with ThroughNoGrad():
                return self.module(*inputs)
        return self.module(*inputs)

    def __deepcopy__(self, known: dict[int, Any]) -> Student:
        """Copy the student, even if its forward keeps features in attributes."""
        detach_kept(self.module)
        copied = type(self).__new__(type(self))
        known[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, known))
        return copied

    def open_gradients(self, example: tuple[Tensor, ...]) -> None:
        """Let gradients pass a forward under torch.no_grad, where none would reach the output.

        Raises:
            UserError: none reaches it in any case.
        """
        for self.through_no_grad in (False, True):
            with torch.enable_grad(), torch.random.fork_rng(devices=[]):
                if self(*example).requires_grad:
                    return
        raise UserError(
            "the generator's output carries no gradient, so it cannot be trained; take "
            "inference_mode, detach() and .data out of its forward"
        )

    def train(self, mode: bool = True) -> Student:
        """Set the mode of batch norms and quantisers; all else stays as the teacher runs it.

        So there is neither dropout nor noise nor a second output that a forward has in training
        alone. A norm that the user's own `train` keeps in evaluation mode stays there.
        """
        super().train(mode)
        for child in self.module.modules():
            if not isinstance(child, Quantizer | nn.modules.batchnorm._BatchNorm):
                child.training = False
        return self

    def gate_of(self, group: str) -> nn.Parameter:
        """Return the (channels,) gates of a prunable group."""
        names = [g.name for g in self.graph.prunable]
        return self.gates[names.index(group)]

    def alive(self) -> dict[str, Tensor]:
        """Map every prunable group to (channels,) bool: the gates that are not zero."""
        pairs = zip(self.graph.prunable, on_cpu(self.gates), strict=True)
        return {group.name: gate != 0 for group, gate in pairs}

    def weights(self) -> list[nn.Parameter]:
        """Return the trainable parameters, without gates and activation ranges."""
        ranges = {id(q.scale) for q in self.activation_quantizers()}
        return [p for p in self.module.parameters() if id(p) not in ranges]

    def ranges(self) -> list[nn.Parameter]:
        """Return the learnt activation ranges (step sizes)."""
        return [q.scale for q in self.activation_quantizers() if q.learnt]

    def activation_quantizers(self) -> list[ActivationQuantizer]:
        return [m for m in self.module.modules() if isinstance(m, ActivationQuantizer)]

    def quantized_weights(self) -> list[tuple[WeightQuantizer, Tensor]]:
        """Return every weight quantiser with its weight."""
        layers = [m for m in self.module.modules() if isinstance(m, SlimConvolution)]
        quantized = [m for m in layers if m.weight_quantizer is not None]
        return [(m.weight_quantizer, m.gated_weight()) for m in quantized]  # pyright: ignore

    def remove_blocks(self, paths: Sequence[str]) -> None:
        """Replace residual blocks by the identity, and drop their groups and gates."""
        for path in paths:
            replace_module(self.module, path, nn.Identity())
        gates = dict(zip((g.name for g in self.graph.prunable), self.gates, strict=True))
        self.graph = drop_modules(self.graph, paths)
        self.gates = nn.ParameterList(gates[g.name] for g in self.graph.prunable)
        self.identities += paths
        self.connect()

    def connect(self) -> None:
        """Connect every gated layer to the gates of its groups."""
        parts: dict[str, list[tuple[nn.Parameter, Tensor, Tensor]]] = {}
        for group, gate in zip(self.graph.prunable, self.gates, strict=True):
            for place in group.gated:
                parts.setdefault(place.tensor, []).append((gate, place.positions, place.channels))
        for name, found in parts.items():
            gate = LayerGate(self.graph.shapes[name][0], found)
            path, _, axis = name.removesuffix(GATE).partition("@")
            if not axis:
                self._slim_layer(path).gate = gate
                continue
            for owner, field in holders_of(self.module, path):
                if type(owner) in SLIM or isinstance(owner, SlimConvolution):
                    places = (p for p, m in self.module.named_modules() if m is owner)
                    self._slim_layer(next(places)).input_gate = gate
                else:
                    gate_parameter(owner, field, int(axis), gate)

    def _slim_layer(self, path: str) -> Any:
        """Return the student's version of a layer, put in its place if it is not there yet."""
        layer: Any = self.module.get_submodule(path)
        if type(layer) in SLIM:
            layer = to_slim(layer)
            replace_module(self.module, path, layer)
        return layer


def prepare(
    teacher: nn.Module,
    example: tuple[Tensor, ...],
    *,
    bits: int | None = 8,
    weight_bits: int | None = None,
    activation_range: float | None = None,
    quantize_outputs: bool = False,
    protect: Sequence[str] = (),
) -> Student:
    """Copy the teacher, with gates on all prunable groups and quantisers on all quantisable layers.

    Args:
        teacher: any convolutional generator; it is not changed. The copy has no dropout, and new
            quantisers replace those of an earlier run.
        example: inputs of batch 1 at the size at which costs are counted.
        bits: bits of activations and weights; None for a student without quantisers.
        weight_bits: bits of weights alone; None takes `bits`, but at most PORTABLE_WEIGHT_BITS.
        activation_range: the fixed p of Wang et al. 2020; None for calibrated and learnt ranges.
        quantize_outputs: also quantise the outputs of convolutions to `bits`, before the bias. The
            last ones are exempt, because rounding would show in the image.
        protect: shell patterns of modules whose channels stay.
    Raises:
        UserError: an operator, which is named, through which channels cannot be followed.
    """
    module = plain_copy(teacher)
    drop_quantizers(module)
    for layer in module.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.p = 0.0  # the teacher runs without dropout, so the student learns without
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    give_norms_a_scale(module)
    pad_norms(module, example)
    graph = find_groups(module, example, protect)
    for path, layer in list(module.named_modules()):
        if type(layer) is nn.ReflectionPad2d:
            replace_module(module, path, to_slim(layer))
    student = Student(module, graph)
    if graph.stops_gradients:
        student.open_gradients(example)
    if bits is not None:
        weights = bits_of_weights(bits, weight_bits)
        for path in graph.quantized_layers:
            quantize_layer(student.module, graph, path, bits, weights, activation_range)
            if quantize_outputs and path not in graph.last_layers:
                quantize_output(student.module, graph, path, bits)
    return student.eval()


def calibrate(student: Student, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Set every activation range, and its sign, from real inputs.

    Meanwhile nothing is quantised, and running statistics do not change.
    """
    modes = [(module, module.training) for module in student.modules()]
    quantizers = [m for m in student.modules() if isinstance(m, Quantizer)]
    student.eval()
    for quantizer in quantizers:
        quantizer.start_observing()
    with torch.no_grad():
        for inputs in batches:
            student(*inputs)
    for quantizer in quantizers:
        quantizer.stop_observing()
    for module, mode in modes:
        module.training = mode


def give_norms_a_scale(module: nn.Module) -> None:
    """Give norms without scale and shift both, at 1 and 0, so that gates can act on them."""
    for layer in module.modules():
        width = norm_width(layer)
        if width is not None and layer.weight is None:
            layer.weight = nn.Parameter(torch.ones(width).to(like(module)))
            layer.bias = nn.Parameter(torch.zeros(width).to(like(module)))
            mark_affine(layer)
