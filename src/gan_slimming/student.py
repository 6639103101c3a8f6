"""The student: a copy of the teacher with gates on its channel groups and quantisers on its layers.

With quantisers off and gates at their start, student(x) == teacher(x). A channel whose gate is zero
is gone: `cut` takes it out physically, at any moment of the training, and `extract` ends a student's
life as a plain module. Both leave the function as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.layers import SLIM, LayerGate, SlimConvolution, fold_gate, output_axis, to_plain
from gan_slimming.layers import silence, to_slim
from gan_slimming.pruning.discovery import find_groups
from gan_slimming.pruning.extract import slice_tensors
from gan_slimming.pruning.groups import GATE, GroupGraph, Member, owner_of, restrict, shrink_graph
from gan_slimming.quantization.fake_quant import ActivationQuantizer, WeightQuantizer

SCALE = ".weight_quantizer.scale"


class Student(nn.Module):
    """A generator on its way from dense to small.

    Attributes:
        module: the user's generator with slim layers; call it like the teacher.
        graph: its channel groups, at their present size.
        gates: one vector per prunable group, in the order of `graph.prunable`.
        identities: residual blocks that have become the identity.
    """

    def __init__(self, module: nn.Module, graph: GroupGraph):
        super().__init__()
        self.module = module
        self.graph = graph
        self.gates = nn.ParameterList(
            torch.ones(group.channels, dtype=_dtype(module)) for group in graph.prunable
        )
        self.identities: list[str] = []
        self._connect()

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the generator computes, quantised and gated."""
        return self.module(*inputs)

    def gate_of(self, group: str) -> nn.Parameter:
        """(channels,) gates of a prunable group."""
        names = [g.name for g in self.graph.prunable]
        return self.gates[names.index(group)]

    def alive(self) -> dict[str, Tensor]:
        """Prunable group -> (channels,) bool: gates that are not zero."""
        pairs = zip(self.graph.prunable, self.gates, strict=True)
        return {group.name: gate.detach().cpu() != 0 for group, gate in pairs}

    def weights(self) -> list[nn.Parameter]:
        """Everything that trains, except gates and activation ranges."""
        ranges = {id(q.scale) for q in self.activation_quantizers()}
        return [p for p in self.module.parameters() if id(p) not in ranges]

    def ranges(self) -> list[nn.Parameter]:
        """Learnt activation ranges (step sizes)."""
        return [q.scale for q in self.activation_quantizers() if q.learnt]

    def activation_quantizers(self) -> list[ActivationQuantizer]:
        return [m for m in self.module.modules() if isinstance(m, ActivationQuantizer)]

    def weight_quantizers(self) -> dict[str, WeightQuantizer]:
        return {n: m for n, m in self.module.named_modules() if isinstance(m, WeightQuantizer)}

    def _connect(self) -> None:
        """Give every gated layer its view of the gates."""
        parts: dict[str, list[tuple[nn.Parameter, Tensor, Tensor]]] = {}
        for group, gate in zip(self.graph.prunable, self.gates, strict=True):
            for place in group.gated:
                parts.setdefault(place.tensor, []).append((gate, place.positions, place.channels))
        for name, found in parts.items():
            path = name.removesuffix(GATE)
            layer: Any = self.module.get_submodule(path)
            if not isinstance(layer, tuple(SLIM.values())):
                layer = to_slim(layer)
                _replace(self.module, path, layer)
            silenced = layer.gate is not None and layer.gate.silenced
            layer.gate = LayerGate(self.graph.shapes[name][0], found)
            layer.gate.silenced = silenced


def prepare(
    teacher: nn.Module,
    example: tuple[Tensor, ...],
    *,
    bits: int | None = 8,
    activation_range: float | None = None,
    protect: Sequence[str] = (),
) -> Student:
    """Copy the teacher; give every prunable group its gates and every convolution its quantisers.

    Args:
        teacher: any convolutional generator; it is not changed.
        example: inputs of batch 1 at the size at which costs are counted.
        bits: of weights and activations; None for a student without quantisers.
        activation_range: the paper's fixed p; None for calibrated and learnt ranges.
        protect: shell patterns of modules whose channels stay.
    Raises:
        UserError: an operator that channels cannot be followed through, by name.
    """
    module = copy.deepcopy(teacher).eval()
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    graph = find_groups(module, example, protect)
    student = Student(module, graph)
    if bits is not None:
        for path in graph.quantized_layers:
            _quantize_layer(student, path, bits, activation_range)
    return student


def calibrate(student: Student, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Set every activation range, and its sign, from real inputs. Quantises nothing meanwhile."""
    quantizers = [q for q in student.activation_quantizers() if q.learnt]
    for quantizer in quantizers:
        quantizer.start_observing()
    with torch.no_grad():
        for inputs in batches:
            student(*inputs)
    for quantizer in quantizers:
        quantizer.stop_observing()


def cut(
    student: Student,
    keep: Mapping[str, Tensor],
    optimizers: Iterable[torch.optim.Optimizer] = (),
) -> None:
    """Take every channel outside `keep` out of the student, in place, optimiser state and all.

    Args:
        keep: group name -> (channels,) bool. A group that would be left empty keeps one channel.
    """
    keep = {name: _at_least_one(mask.cpu()) for name, mask in keep.items()}
    keep = {name: mask for name, mask in keep.items() if not bool(mask.all())}
    if not keep:
        return
    indices = restrict(student.graph, keep)
    slice_tensors(student.module, indices, optimizers)
    for group, gate in zip(student.graph.prunable, student.gates, strict=True):
        if group.name in keep:
            index = {("gate", 0): keep[group.name].nonzero().flatten()}
            slice_tensors({"gate": gate}, index, optimizers)
    student.graph = shrink_graph(student.graph, keep)
    student._connect()


def silence_empty_blocks(student: Student) -> list[str]:
    """Silence residual branches through which nothing flows any more; return the new ones.

    Without this an emptied branch would still add the shift of its last normalisation.
    """
    alive = student.alive()
    new = []
    for block in student.graph.blocks:
        empty = any(not bool(alive[name].any()) for name in block.inner if name in alive)
        layer: Any = student.module.get_submodule(block.gated)
        if empty and not layer.gate.silenced:
            silence(layer)
            new.append(block.module)
    return new


@torch.no_grad()
def extract(student: Student) -> nn.Module:
    """The student without its zeros: physically small, computing what the student computes.

    Dead channels are cut out, gates folded away, silenced residual blocks become the identity.
    extract(student)(x) equals student(x) for any weights, shifts, masks and input sizes.
    """
    small = copy.deepcopy(student).eval()
    cut(small, small.alive())
    for block in small.graph.blocks:
        layer: Any = small.module.get_submodule(block.gated)
        if not bool((layer.gate() != 0).any()):
            small.identities.append(block.module)
    for path in small.identities:
        _replace(small.module, path, nn.Identity())
    for name, layer in list(small.module.named_modules()):
        if isinstance(layer, tuple(SLIM.values())):
            fold_gate(layer)
            quantized = isinstance(layer, SlimConvolution) and layer.weight_quantizer is not None
            if not quantized:
                _replace(small.module, name, to_plain(layer))
    return small.module


def _quantize_layer(
    student: Student, path: str, bits: int, activation_range: float | None
) -> None:
    layer: Any = student.module.get_submodule(path)
    if type(layer) in SLIM:
        layer = to_slim(layer)
        _replace(student.module, path, layer)
    if not isinstance(layer, SlimConvolution):
        return
    axis = output_axis(layer)
    layer.weight_quantizer = WeightQuantizer(layer.weight, axis, bits)
    layer.input_quantizer = ActivationQuantizer(bits, fixed_range=activation_range).to(
        layer.weight.dtype
    )
    name = path + SCALE
    student.graph.shapes[name] = (layer.weight.shape[axis],)
    for group in student.graph.groups:
        group.members += [
            Member(name, 0, member.positions, member.channels)
            for member in group.members
            if member.tensor == path + ".weight" and member.axis == axis
        ]


def _at_least_one(mask: Tensor) -> Tensor:
    if bool(mask.any()):
        return mask
    first = torch.zeros_like(mask)
    first[0] = True
    return first


def _replace(root: nn.Module, path: str, layer: nn.Module) -> None:
    parent, attribute = owner_of(root, path)
    setattr(parent, attribute, layer)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype
