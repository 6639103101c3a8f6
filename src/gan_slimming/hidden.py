"""Distillation of hidden layers: each channel that the student has kept, against the teacher's own.

The channel map says which of the teacher's channels every channel of the student stands for, so the
two are compared as they are, without the adapters that other distillations train in between:

    h = mean over layers l of  E[(S_l - T_l)^2] / Var[T_l]

with S_l what a gated layer, or a residual block, of the student gives, and T_l the same channels of
the same layer of the teacher. A student that gives every layer's mean has h = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_slimming.pruning.groups import GATE, macs_left
from gan_slimming.student import Student

WEIGHT, FROM = 3.0, 0.25
"""Weight of h, and the share of the teacher's work from which it pays: a student of less has no
room to be the teacher inside."""
Seen = dict[str, list[Tensor]]
"""Module -> what it gave, one tensor for each call."""
LAST_AXIS = (nn.Linear, nn.LayerNorm)
"""Modules whose channels stand on the last axis of what they give; elsewhere they are axis 1."""


@dataclass(frozen=True)
class HiddenLayer:
    """A module that teacher and student both have.

    Attributes:
        path: its qualified name.
        axis: of its output's channels.
        channels: (kept,) int64, the teacher's channels in the student's order.
    """

    path: str
    axis: int
    channels: Tensor


class HiddenLayers:
    """Which channels of the teacher the student's stand for, at any time of its life.

    Args:
        student: at the teacher's size.
    """

    def __init__(self, student: Student):
        self._places: dict[str, dict[str, dict[int, int]]] = {}
        for group in student.graph.prunable:
            for member in group.gated:
                pairs = zip(member.channels.tolist(), member.positions.tolist(), strict=True)
                own = self._places.setdefault(member.tensor, {}).setdefault(group.name, {})
                own.update(pairs)

    def of(self, student: Student) -> list[HiddenLayer]:
        """The layers that are left, at their present width."""
        channels: dict[str, dict[int, int]] = {}
        for group in student.graph.prunable:
            kept = student.kept[group.name].tolist()
            for member in group.gated:
                places = self._places[member.tensor][group.name]
                found = channels.setdefault(member.tensor, {})
                for position, channel in zip(
                    member.positions.tolist(), member.channels.tolist(), strict=True
                ):
                    found[position] = places[kept[channel]]
        layers = []
        ends = {block.gated: block.module for block in student.graph.blocks}
        for name, found in channels.items():
            path, _, other = name.removesuffix(GATE).partition("@")
            whole = len(found) == student.graph.shapes[name][0]
            if other or not whole:
                continue  # gates on another module's parameter, or on a part of the channels
            order = torch.tensor([found[position] for position in sorted(found)])
            axis = -1 if isinstance(student.module.get_submodule(path), LAST_AXIS) else 1
            layers += [HiddenLayer(p, axis, order) for p in (path, ends.get(path)) if p is not None]
        return layers


class HiddenTerm:
    """h of one run, and the weight that it has.

    Args:
        student: at the teacher's size.
        teacher: the network itself; None, where the student is no copy of it, leaves h out.
        weight: what was asked for; None decides by the student's share of the teacher's work.
    """

    def __init__(self, student: Student, teacher: nn.Module | None, weight: float | None):
        self.teacher, self.asked = teacher, weight
        self.layers = HiddenLayers(student)
        self.whole = macs_left(student.graph, {})

    def weight(self, student: Student) -> float:
        """Of h for the student at its present size; 0 where there is nothing to compare."""
        if self.teacher is None or not self.layers.of(student):
            return 0.0
        if self.asked is not None:
            return self.asked
        return WEIGHT if macs_left(student.graph, {}) >= FROM * self.whole else 0.0

    def draw(
        self, student: Student, by_teacher: Callable[[], Tensor], by_student: Callable[[], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both draw, and are watched: (teacher's pictures, student's, h)."""
        assert self.teacher is not None
        layers = self.layers.of(student)
        with watched(self.teacher, layers) as expected, torch.no_grad():
            target = by_teacher()
        with watched(student.module, layers) as seen:
            made = by_student()
        return target, made, hidden_distance(seen, expected, layers)


@contextmanager
def watched(module: nn.Module, layers: Iterable[HiddenLayer]) -> Iterator[Seen]:
    """What the layers give while this lasts."""
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


def hidden_distance(
    student: Mapping[str, list[Tensor]],
    teacher: Mapping[str, list[Tensor]],
    layers: Iterable[HiddenLayer],
) -> Tensor:
    """h, a scalar in float32; 0 when the student's channels are the teacher's.

    Args:
        student, teacher: what `watched` saw, for the same pictures; the teacher's without gradient.
    """
    terms = []
    for layer in layers:
        for made, whole in zip(student[layer.path], teacher[layer.path], strict=True):
            expected = whole.index_select(layer.axis, layer.channels.to(whole.device)).float()
            terms.append((made.float() - expected).square().mean() / _spread(expected))
    return torch.stack(terms).mean()


def _spread(values: Tensor) -> Tensor:
    """The variance, but not zero, as where a whole layer gives one number."""
    return values.var(correction=0).clamp_min(1e-6)
