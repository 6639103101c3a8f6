"""Feature distillation: each channel that the student has kept, against the teacher's own.

The channel map says which of the teacher's channels each of the student's stands for. So the two
are compared directly, without the adapters that other distillations train in between:

    h = mean over layers l of  E[(S_l - T_l)^2] / Var[T_l]

S_l are the outputs of a gated layer or a residual block of the student, T_l the same channels of
the same layer of the teacher, at some positions of each. A student that gives every layer's mean
has h = 1.

In the first half of recovery the weight of h falls to the share of the teacher's MACs that is left.
A student of half the work can have nearly its teacher's channels; one of a twentieth cannot, and
has to find its own in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_slimming.pruning.groups import GATE, GroupGraph
from gan_slimming.student.student import Student

POSITIONS = 256
"""Positions of a feature map that are compared, drawn anew for each image."""
GUIDED = 0.5
"""Share of recovery over which the weight of h would fall to zero, linearly."""
Seen = dict[str, list[Tensor]]
"""Module -> its outputs, one tensor for each call."""
SMALLEST_VARIANCE = 1e-6
"""Least variance that a layer is taken to have: it may give one number everywhere."""
LAST_AXIS = (nn.Linear, nn.LayerNorm)
"""Modules whose outputs have channels on the last axis; elsewhere it is axis 1."""


@dataclass(frozen=True)
class SharedLayer:
    """A module that teacher and student both have.

    Attributes:
        path: its qualified name.
        axis: of its output's channels.
        channels: (kept,) int64, the teacher's channels in the student's order.
    """

    path: str
    axis: int
    channels: Tensor


class SharedLayers:
    """The teacher's channels that the student's stand for, at any time of its life.

    Args:
        student: at the teacher's size.
    """

    def __init__(self, student: Student):
        self._positions: dict[str, dict[str, dict[int, int]]] = {}
        self._of: tuple[GroupGraph, list[SharedLayer]] | None = None
        for group in student.graph.prunable:
            for member in group.gated:
                pairs = zip(member.channels.tolist(), member.positions.tolist(), strict=True)
                own = self._positions.setdefault(member.tensor, {}).setdefault(group.name, {})
                own.update(pairs)

    def of(self, student: Student) -> list[SharedLayer]:
        """Return the layers that are left, at their present width."""
        if self._of is None or self._of[0] is not student.graph:
            self._of = student.graph, self._found(student)
        return self._of[1]

    def _found(self, student: Student) -> list[SharedLayer]:
        channels: dict[str, dict[int, int]] = {}
        for group in student.graph.prunable:
            kept = student.kept[group.name].tolist()
            for member in group.gated:
                positions = self._positions[member.tensor][group.name]
                found = channels.setdefault(member.tensor, {})
                for position, channel in zip(
                    member.positions.tolist(), member.channels.tolist(), strict=True
                ):
                    found[position] = positions[kept[channel]]
        layers = []
        ends = {block.gated: block.module for block in student.graph.blocks}
        for name, found in channels.items():
            path, _, other = name.removesuffix(GATE).partition("@")
            whole = len(found) == student.graph.shapes[name][0]
            if other or not whole:
                continue  # gates on another module's parameter, or on some of the channels
            order = torch.tensor([found[position] for position in sorted(found)])
            axis = -1 if isinstance(student.module.get_submodule(path), LAST_AXIS) else 1
            layers += [SharedLayer(p, axis, order) for p in (path, ends.get(path)) if p is not None]
        return layers


class FeatureDistillation:
    """The term h of one run: its weight, and the features of teacher and student.

    Args:
        student: at the teacher's size.
        teacher: the network itself; None, where the student is no copy of it, leaves h out.
        weight: at the start of recovery; 0 leaves h out, too.
    """

    def __init__(self, student: Student, teacher: nn.Module | None, weight: float):
        self.teacher = teacher
        self.weight = weight if teacher is not None else 0.0
        self._layers = SharedLayers(student)

    def weight_at(self, recovered: float, left: float) -> float:
        """Return the weight of h.

        Args:
            recovered: share of recovery that is over, in [0, 1].
            left: share of the teacher's MACs that the student has, in [0, 1].
        """
        return self.weight * max(1 - recovered / GUIDED, left)

    def of_teacher(
        self, student: Student, generate: Callable[[], Tensor], seeds: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the teacher's images, and the channels of its layers that the student has kept.

        Args:
            generate: runs the teacher, without gradient.
            seeds: one for each image; they choose the positions that are compared.
        """
        assert self.teacher is not None
        layers = self._layers.of(student)
        with watched(self.teacher, layers) as seen:
            images = generate()
        channels = (layer.channels.to(images.device) for layer in layers)
        chosen = [
            (values.index_select(layer.axis, kept), layer.axis)
            for layer, kept in zip(layers, channels, strict=True)
            for values in seen.get(layer.path, [])
        ]
        return images, [at_positions(values, axis, seeds) for values, axis in chosen]

    def of_student(
        self, student: Student, generate: Callable[[], Tensor], seeds: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the same of the student, with gradient."""
        layers = self._layers.of(student)
        with watched(student.module, layers) as seen:
            images = generate()
        return images, [
            at_positions(values, layer.axis, seeds)
            for layer in layers
            for values in seen.get(layer.path, [])
        ]


@contextmanager
def watched(module: nn.Module, layers: Iterable[SharedLayer]) -> Iterator[Seen]:
    """Record the outputs of the layers while this lasts."""
    seen: Seen = {}
    hooks = []
    for layer in layers:

        def keep(_: nn.Module, __: object, made: object, path: str = layer.path) -> None:
            if isinstance(made, Tensor):
                seen.setdefault(path, []).append(made)

        hooks.append(module.get_submodule(layer.path).register_forward_hook(keep))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def at_positions(values: Tensor, axis: int, seeds: Sequence[int]) -> Tensor:
    """Return a feature map at random positions, the same for the same seed.

    They are few enough for the teacher's side to be kept in memory.

    Args:
        values: one image for each seed, or as many parts of each, such as the windows of an
            attention, image by image; channels on `axis`.
    Returns:
        (batch, channels, at most POSITIONS)
    """
    flat = values.movedim(axis, 1)
    flat = flat.reshape(len(seeds), -1, flat.shape[1], flat[0, 0].numel())
    flat = flat.transpose(1, 2).flatten(2)
    total = flat.shape[2]
    if total <= POSITIONS:
        return flat
    generators = (torch.Generator().manual_seed(seed) for seed in seeds)
    rows = [torch.randint(total, (POSITIONS,), generator=generator) for generator in generators]
    positions = torch.stack(rows).to(flat.device)
    return flat.gather(2, positions[:, None].expand(-1, flat.shape[1], -1))


def feature_distance(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    variances: Sequence[Tensor] | None = None,
) -> Tensor:
    """Return h, a scalar in float32; 0 when the student's channels are the teacher's.

    Args:
        student, teacher: channels of each layer for the same images, layer by layer in the same
            order; the teacher's without gradient.
        variances: of the teacher's, where these are a part of the step's batch.
    """
    if variances is None:
        variances = [values.float().var(correction=0) for values in teacher]
    terms = [
        (made.float() - expected.float()).square().mean() / variance.clamp_min(SMALLEST_VARIANCE)
        for made, expected, variance in zip(student, teacher, variances, strict=True)
    ]
    return torch.stack(terms).mean()
