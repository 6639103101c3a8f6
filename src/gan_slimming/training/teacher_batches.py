"""Batches of training inputs, each with the teacher's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from gan_slimming.config import Optimisation, Run
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.sampler import Sampler
from gan_slimming.losses.feature_distillation import FeatureDistillation
from gan_slimming.student.student import Student
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.teacher_cache import Answer, TeacherCache

SECOND_SIZE = 6
"""What is added to the run's seed for the draws at full size, if half the size comes first."""


@dataclass(frozen=True)
class TeacherBatch:
    """Inputs, and the teacher's answers to them, without gradient."""

    inputs: Inputs
    images: Tensor
    """(batch, 3, side, side) float32 RGB in [-1, 1]."""
    features: list[Tensor]
    """The teacher's side of `FeatureDistillation`; empty where it is left out."""
    seeds: list[int]
    """One for each input: the positions at which features are compared."""


class TeacherBatches:
    """Draws batches in a fixed order and asks the teacher, once for each input.

    A run goes from half the size to the whole and does not come back, so answers of another size
    make room. Each size has its own order, of as many inputs as its draws need.

    Args:
        draws: `draws_by_size` of the run.
    """

    def __init__(
        self,
        fabric: Fabric,
        context: TrainingContext,
        features: FeatureDistillation,
        run: Run,
        draws: Mapping[int, int],
    ):
        self.fabric, self.context, self.features = fabric, context, features
        self.run, self.draws = run, draws
        self.sampler = self._sampler(max(draws))
        self.cache = TeacherCache()
        self._downscale = 1

    def next(
        self, student: Student, downscale: int, augmentations: int, *, compare: bool
    ) -> TeacherBatch:
        """Return the next batch.

        Args:
            student: its channels decide which features of the teacher are kept.
            downscale: whole factor by which images are made smaller.
            augmentations: how many of each input there are.
            compare: whether the teacher's features are asked for. After a change `clear` the cache.
        """
        if downscale != self._downscale:
            self.cache.clear()
            self._downscale = downscale
        if self.sampler.seed != self._seed(downscale):
            self.sampler = self._sampler(downscale)
        inputs = self.context.inputs
        indices, chosen = self.sampler.next(augmentations)
        found = inputs.batch(indices, chosen, downscale)
        batch = tuple(_channels_last(x.to(self.fabric.device)) for x in found)
        keys = list(zip(indices.tolist(), chosen.tolist(), strict=True))
        seeds = [(number * len(inputs) + index) * 2 + (downscale > 1) for index, number in keys]

        def answer(place: int) -> Answer:
            alone = tuple(x[place : place + 1] for x in batch)
            return self._answer(student if compare else None, alone, seeds[place])

        images, *features = self.cache.answers(keys, answer)
        return TeacherBatch(batch, images, features, seeds)

    def _sampler(self, downscale: int) -> Sampler:
        settings = self.run.optimisation
        draws, each = self.draws[downscale], settings.draws_per_answer
        count = self.context.inputs.distinct(downscale, draws, each)
        return self.context.sampler(settings.batch(), self._seed(downscale), count)

    def _seed(self, downscale: int) -> int:
        """Return the seed of a size's order: the run's, and another one for the second size.

        Runs of version 0.1 keep the first to the end.
        """
        second = downscale < max(self.draws) and self.run.optimisation.draws_per_answer is not None
        return self.run.seed + SECOND_SIZE * second

    @torch.no_grad()
    def _answer(self, student: Student | None, batch: Inputs, seed: int) -> Answer:
        """Return the teacher's image and, with a student, its features, for one input."""

        def generate() -> Tensor:
            with self.fabric.autocast():
                return self.context.teacher(*batch).float()

        if student is None:
            return [generate()]
        images, features = self.features.of_teacher(student, generate, [seed])
        return [images, *features]


def draws_by_size(settings: Optimisation, *, halves: bool) -> dict[int, int]:
    """Return the number of inputs drawn with each downscale of a run, 2 and 1, or 1 alone.

    Runs of version 0.1 count all for either.
    """
    total = settings.steps * settings.batch()
    if not halves:
        return {1: total}
    if settings.draws_per_answer is None:
        return {2: total, 1: total}
    half = round(total * settings.half_size_share)
    return {2: half, 1: total - half}


def _channels_last(values: Tensor) -> Tensor:
    """Return images with channels last: convolutions, narrow ones above all, are faster so."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
