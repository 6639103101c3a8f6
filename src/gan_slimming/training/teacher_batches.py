"""Batches of training inputs, each with the teacher's answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from gan_slimming.config import Run
from gan_slimming.data.inputs import Inputs
from gan_slimming.errors import UserError
from gan_slimming.losses.feature_distillation import FeatureDistillation
from gan_slimming.student.student import Student
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.teacher_cache import Answer, TeacherCache
from gan_slimming.training.trials import channels_last


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
    make room.
    """

    def __init__(
        self,
        fabric: Fabric,
        context: TrainingContext,
        features: FeatureDistillation,
        run: Run,
    ):
        self.fabric, self.context, self.features = fabric, context, features
        batch_size = run.optimisation.batch()
        draws = run.optimisation.steps * batch_size
        self.sampler = context.sampler(batch_size, run.seed, draws)
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
        inputs = self.context.inputs
        indices, chosen = self.sampler.next(augmentations)
        found = inputs.batch(indices, chosen, downscale)
        batch = tuple(x.to(self.fabric.device) for x in found)
        if self.context.channels_last:
            batch = tuple(channels_last(x) for x in batch)
        keys = list(zip(indices.tolist(), chosen.tolist(), strict=True))
        seeds = [(number * len(inputs) + index) * 2 + (downscale > 1) for index, number in keys]

        def answer(place: int) -> Answer:
            alone = tuple(x[place : place + 1] for x in batch)
            return self._answer(student if compare else None, alone, seeds[place])

        images, *features = self.cache.answers(keys, answer)
        return TeacherBatch(batch, images, features, seeds)

    @torch.no_grad()
    def _answer(self, student: Student | None, batch: Inputs, seed: int) -> Answer:
        """Return the teacher's image and, with a student, its features, for one input."""

        def generate() -> Tensor:
            with self.fabric.autocast(), self.context.noise([seed]):
                return self.context.teacher(*batch).float()

        if student is None:
            return [_finite(generate())]
        images, features = self.features.of_teacher(student, generate, [seed])
        return [_finite(images), *features]


def _finite(images: Tensor) -> Tensor:
    """Return the teacher's images, once they are seen to be finite.

    Raises:
        UserError: they are not.
    """
    if not bool(images.isfinite().all()):
        raise UserError(
            "the teacher gives infinite values or no numbers (NaN) for one of the training inputs; "
            "take that input out, or mend the teacher's forward"
        )
    return images
