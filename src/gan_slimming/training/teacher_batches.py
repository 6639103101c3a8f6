"""Batches of training inputs, each with the teacher's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from gan_slimming.config import Optimisation, Run
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.ranks.shares import own_draws, own_places
from gan_slimming.data.sampler import Sampler
from gan_slimming.losses.feature_distillation import FeatureDistillation
from gan_slimming.student.student import Student
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.divergence import check_answer, first_bad_layer
from gan_slimming.training.saliency import block_effects
from gan_slimming.training.schedule import Schedule
from gan_slimming.training.teacher_cache import Answer, TeacherCache
from gan_slimming.training.trials import channels_last

EFFECT_IMAGES = 2
"""Inputs on which the effect of residual blocks is measured."""
CHECKED = 16
"""Most inputs about which the teacher is asked before training."""

SECOND_SIZE = 6
"""What is added to the run's seed for the draws at full size, if half the size comes first."""


@dataclass(frozen=True)
class TeacherBatch:
    """A process's inputs of a step, and the teacher's answers to them, without gradient."""

    inputs: Inputs
    images: Tensor
    """(batch, 3, side, side) float32 RGB in [-1, 1]."""
    features: list[Tensor]
    """The teacher's side of `FeatureDistillation`; empty where it is left out."""
    seeds: list[int]
    """One for each input: the positions at which features are compared."""
    indices: list[int]
    """The number of each input in its set."""
    places: Tensor
    """(batch,) int64: the place of each in the step's whole batch, which processes share."""

    def parts(self, number: int) -> Iterator[TeacherBatch]:
        """Yield the batch in so many equal parts."""
        size = len(self.indices) // number
        for start in range(0, number * size, size):
            here = slice(start, start + size)
            yield TeacherBatch(
                tuple(x[here] for x in self.inputs), self.images[here],
                [x[here] for x in self.features], self.seeds[here], self.indices[here],
                self.places[here],
            )  # fmt: skip


class TeacherBatches:
    """Draws batches in a fixed order and asks the teacher, once for each input.

    A run goes from half the size to the whole and does not come back, so answers of another size
    make room. Each size has its own order, of as many inputs as its draws need.
    """

    def __init__(
        self,
        fabric: Fabric,
        context: TrainingContext,
        features: FeatureDistillation,
        run: Run,
        schedule: Schedule,
    ):
        self.fabric, self.context, self.features = fabric, context, features
        self.run, self.schedule = run, schedule
        self.sampler = self._sampler(schedule.downscale)
        folder = context.answers_folder if run.memory.answers_on == "disk" else None
        self.cache = TeacherCache(run.memory.answer_bytes, folder)
        self._downscale = 1

    def plan(self) -> None:
        """Draw as many inputs as the run takes, now that more steps are expected of it."""
        self.sampler.restrict(self._distinct(self.schedule.downscale))

    def next(self, student: Student, *, compare: bool) -> TeacherBatch:
        """Return the next batch.

        Args:
            student: its channels decide which features of the teacher are kept.
            compare: whether the teacher's features are asked for. After a change `clear` the cache.
        """
        downscale = self.schedule.downscale
        if downscale != self._downscale:
            self.cache.clear()
            self._downscale = downscale
        if self.sampler.seed != self._seed(downscale):
            self.sampler = self._sampler(downscale)
        inputs = self.context.inputs
        drawn, augmentations = self.sampler.next(self.augmentations)
        places = own_places(drawn, len(inputs))
        indices, chosen = drawn[places], augmentations[places]
        found = inputs.batch(indices, chosen, downscale)
        inputs.expect(own_draws(self.sampler.coming, self.sampler.batch_size, len(inputs)))
        batch = tuple(x.to(self.fabric.device) for x in found)
        if self.context.channels_last:
            batch = tuple(channels_last(x) for x in batch)
        keys = list(zip(indices.tolist(), chosen.tolist(), strict=True))
        seeds = [(number * len(inputs) + index) * 2 + (downscale > 1) for index, number in keys]

        def answer(place: int) -> Answer:
            alone = tuple(x[place : place + 1] for x in batch)
            return self._answer(student if compare else None, alone, seeds[place], keys[place][0])

        images, *features = self.cache.answers(keys, answer)
        return TeacherBatch(batch, images, features, seeds, indices.tolist(), places)

    def check_teacher(self, downscale: int) -> None:
        """Ask the teacher about some inputs before training, without drawing them.

        Raises:
            BadAnswer: an answer is not finite, or too large for the 16-bit floats that keep it.
        """
        inputs = self.context.inputs
        for index in range(0, len(inputs), max(1, -(-len(inputs) // CHECKED))):
            place = torch.tensor([index])
            found = inputs.batch(place, torch.zeros_like(place), downscale)
            self._answer(None, tuple(x.to(self.fabric.device) for x in found), 0, index)

    def block_effects(self, paths: Sequence[str]) -> dict[str, float]:
        """Return path -> mean difference of the teacher's images without this residual block."""
        place = torch.arange(min(EFFECT_IMAGES, len(self.context.inputs)))
        found = self.context.inputs.batch(place, torch.zeros_like(place), self.schedule.downscale)
        batch = tuple(x.to(self.fabric.device) for x in found)

        def images() -> Tensor:
            with self.fabric.autocast(), self.context.noise(place.tolist()):
                return self.context.teacher(*batch).float()

        return block_effects(self.context.teacher.generator, paths, images)

    @property
    def augmentations(self) -> int:
        """The number of augmentations of each input in this step."""
        size, each = self.schedule.downscale, self.run.optimisation.draws_per_answer
        return self.context.inputs.augmentations(size, self._draws[size], each)

    @property
    def _draws(self) -> dict[int, int]:
        settings, schedule = self.run.optimisation, self.schedule
        halves = schedule.halves and settings.half_size_share > 0
        return draws_by_size(settings, schedule.steps, halves=halves)

    def _distinct(self, downscale: int) -> int:
        each = self.run.optimisation.draws_per_answer
        return self.context.inputs.distinct(downscale, self._draws[downscale], each)

    def _sampler(self, downscale: int) -> Sampler:
        batch_size = self.run.optimisation.batch()
        return self.context.sampler(batch_size, self._seed(downscale), self._distinct(downscale))

    def _seed(self, downscale: int) -> int:
        """Return the seed of a size's order: the run's, and another one for the second size.

        Runs of version 0.1 keep the first to the end.
        """
        second = downscale < max(self._draws) and self.run.optimisation.draws_per_answer is not None
        return self.run.seed + SECOND_SIZE * second

    @torch.no_grad()
    def _answer(self, student: Student | None, batch: Inputs, seed: int, index: int) -> Answer:
        """Return the teacher's image and, with a student, its features, for one input."""

        def generate() -> Tensor:
            with self.fabric.autocast(), self.context.noise([seed]):
                return self.context.teacher(*batch).float()

        def explain() -> str:
            name = self.context.inputs.name(index)
            layer = first_bad_layer(self.context.teacher.generator, generate)
            return name if layer is None else f"{name}, from layer {layer} on,"

        images, features = (generate(), []) if student is None else (
            self.features.of_teacher(student, generate, [seed])
        )  # fmt: skip
        check_answer(images, features, explain)
        return [images, *features]


def draws_by_size(settings: Optimisation, steps: int, *, halves: bool) -> dict[int, int]:
    """Return the number of inputs drawn with each downscale of a run, 2 and 1, or 1 alone.

    Runs of version 0.1 count all for either.

    Args:
        steps: expected number of steps, 0 while unknown.
    """
    total = steps * settings.batch()
    if not halves:
        return {1: total}
    if settings.draws_per_answer is None:
        return {2: total, 1: total}
    half = round(total * settings.half_size_share)
    return {2: half, 1: total - half}
