"""Batches of training inputs, each with the teacher's answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor

from gan_slimming.config import Run
from gan_slimming.data.inputs import Inputs
from gan_slimming.losses.feature_distillation import FeatureDistillation
from gan_slimming.student.student import Student
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.divergence import check_answer, first_bad_layer, name_of
from gan_slimming.training.teacher_cache import Answer, TeacherCache
from gan_slimming.training.trials import channels_last

CHECKED = 16
"""Most inputs about which the teacher is asked before training."""


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
    indices: list[int]
    """The number of each input in its set."""


class TeacherBatches:
    """Draws batches in a fixed order and asks the teacher, once for each input.

    A run goes from half the size to the whole and does not come back, so answers of another size
    make room.

    Args:
        steps: expected number of steps, 0 while unknown; short runs draw few inputs.
    """

    def __init__(
        self,
        fabric: Fabric,
        context: TrainingContext,
        features: FeatureDistillation,
        run: Run,
        steps: int,
    ):
        self.fabric, self.context, self.features = fabric, context, features
        batch_size = run.optimisation.batch()
        self.sampler = context.sampler(batch_size, run.seed, steps * batch_size)
        folder = context.answers_folder if run.memory.answers_on == "disk" else None
        self.cache = TeacherCache(run.memory.answer_bytes, folder)
        self._downscale = 1

    def plan(self, steps: int) -> None:
        """Draw as many inputs as a run of so many steps takes, from here on."""
        draws = steps * self.sampler.batch_size
        self.sampler.restrict(self.context.inputs.distinct(draws))

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
        inputs.expect(self.sampler.coming)
        batch = tuple(x.to(self.fabric.device) for x in found)
        if self.context.channels_last:
            batch = tuple(channels_last(x) for x in batch)
        keys = list(zip(indices.tolist(), chosen.tolist(), strict=True))
        seeds = [(number * len(inputs) + index) * 2 + (downscale > 1) for index, number in keys]

        def answer(place: int) -> Answer:
            alone = tuple(x[place : place + 1] for x in batch)
            return self._answer(student if compare else None, alone, seeds[place], keys[place][0])

        images, *features = self.cache.answers(keys, answer)
        return TeacherBatch(batch, images, features, seeds, [index for index, _ in keys])

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

    @torch.no_grad()
    def _answer(self, student: Student | None, batch: Inputs, seed: int, index: int) -> Answer:
        """Return the teacher's image and, with a student, its features, for one input."""

        def generate() -> Tensor:
            with self.fabric.autocast(), self.context.noise([seed]):
                return self.context.teacher(*batch).float()

        def explain() -> str:
            name = name_of(self.context.inputs, index)
            layer = first_bad_layer(self.context.teacher.generator, generate)
            return name if layer is None else f"{name}, from layer {layer} on,"

        images, features = (generate(), []) if student is None else (
            self.features.of_teacher(student, generate, [seed])
        )  # fmt: skip
        check_answer(images, features, explain)
        return [images, *features]
