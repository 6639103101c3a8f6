"""Exact operations on a student: they change its size or parameters, never its function.

`cut` removes dead channels at any time during training. `extract` turns a student into a plain
module. `set_gates` moves a factor between gates and weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from gan_slimming.pruning.channel_attributes import note_numbers, renumber
from gan_slimming.pruning.groups import restrict, shrink_graph
from gan_slimming.pruning.slicing import slice_tensors
from gan_slimming.student.gates import LayerGate
from gan_slimming.student.layers import (
    SLIM,
    SlimConvolution,
    fold_gate,
    gated_tensors,
    scale_channels,
    to_plain,
)
from gan_slimming.student.places import replace_module
from gan_slimming.student.student import Student


def cut(
    student: Student,
    keep: Mapping[str, Tensor],
    optimizers: Iterable[torch.optim.Optimizer] = (),
) -> None:
    """Cut every channel outside `keep` out of the student and the optimiser state, in place.

    Release earlier outputs first: their autograd graph holds the old shapes, so the next backward
    pass would fail.

    Args:
        keep: group name -> (channels,) bool. A group that would be empty keeps one channel, and one
            of a width that its forward treats apart keeps one more.
    """
    avoid = {group.name: group.avoid for group in student.graph.groups}
    keep = {name: allowed(mask.cpu(), avoid[name]) for name, mask in keep.items()}
    keep = {name: mask for name, mask in keep.items() if not bool(mask.all())}
    if not keep:
        return
    indices = restrict(student.graph, keep)
    slice_tensors(student.module, indices, optimizers)
    renumber(student.module, student.graph.numbers)
    for group, gate in zip(student.graph.prunable, student.gates, strict=True):
        if group.name in keep:
            index = {("gate", 0): keep[group.name].nonzero().flatten()}
            slice_tensors({"gate": gate}, index, optimizers)
            student.kept[group.name] = student.kept[group.name][keep[group.name]]
    student.graph = shrink_graph(student.graph, keep)
    student.connect()


def remove_empty_blocks(student: Student) -> list[str]:
    """Replace residual blocks whose branch carries nothing by the identity, in place.

    Such a block would still add the shift of its last norm to every pixel.

    Returns:
        Paths of the modules removed by this call.
    """
    alive = student.alive()
    paths = [
        block.module
        for block in student.graph.blocks
        if any(not bool(alive[name].any()) for name in block.inner if name in alive)
    ]
    if paths:
        student.remove_blocks(paths)
    return paths


@torch.no_grad()
def set_gates(student: Student, values: Mapping[str, Tensor]) -> None:
    """Set gates to `values` (not zero) and rescale the layers, so that the function stays.

    Args:
        values: group name -> (channels,) new gates.
    """
    layers = [layer for layer in student.module.modules() if gated_tensors(layer)]
    old = {id(gate): gate().clone() for layer in layers for _, _, gate in gated_tensors(layer)}
    for group, gate in zip(student.graph.prunable, student.gates, strict=True):
        if group.name in values:
            gate.copy_(values[group.name])
    seen: set[tuple[int, int]] = set()
    for layer in layers:
        scale_channels(layer, lambda gate: old[id(gate)] / gate(), seen)


@torch.no_grad()
def extract(student: Student) -> nn.Module:
    """Return the student as a small module without gates, with the same function.

    Dead channels are cut out and gates folded into the weights. Residual blocks whose last gates
    are all zero become the identity. Quantised layers keep their quantisers. extract(student)(x)
    equals student(x) for any weights, shifts, masks and input sizes.
    """
    small = copy.deepcopy(student).eval()
    cut(small, small.alive())
    for block in small.graph.blocks:
        end = small.module.get_submodule(block.gated) if block.gated else None
        gate = getattr(end, "gate", None)
        if isinstance(gate, LayerGate) and not bool((gate() != 0).any()):
            small.identities.append(block.module)
            replace_module(small.module, block.module, nn.Identity())
    seen: set[tuple[int, int]] = set()
    for name, layer in list(small.module.named_modules()):
        fold_gate(layer, seen)
        if isinstance(layer, tuple(SLIM.values())):
            quantized = isinstance(layer, SlimConvolution) and layer.weight_quantizer is not None
            if not quantized:
                replace_module(small.module, name, to_plain(layer))
    if small.graph.numbers:
        note_numbers(small.module, small.graph.numbers)
    return small.module


def restore(student: Student, kept: Mapping[str, Tensor], identities: Sequence[str]) -> None:
    """Cut a freshly prepared student to the size of another one, by its channel map."""
    student.remove_blocks([path for path in identities if path not in student.identities])
    masks = {}
    for group in student.graph.groups:
        masks[group.name] = torch.zeros(group.channels, dtype=torch.bool)
        masks[group.name][kept[group.name]] = True
    cut(student, masks)


def allowed(mask: Tensor, avoid: frozenset[int]) -> Tensor:
    """Return the mask with dead channels kept until it is neither empty nor of a width to avoid."""
    mask = mask.clone()
    while not bool(mask.any()) or (int(mask.sum()) in avoid and not bool(mask.all())):
        mask[int((~mask).nonzero()[0])] = True
    return mask
