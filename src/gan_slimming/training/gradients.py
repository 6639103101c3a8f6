"""The gradient of one step: in parts that fit in memory, and over the processes of the run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config import Run
from gan_slimming.data.ranks.collectives import average
from gan_slimming.data.ranks.launch import count
from gan_slimming.data.ranks.shared_statistics import sharing_statistics, variances_of_batch
from gan_slimming.losses.feature_distillation import FeatureDistillation, feature_distance
from gan_slimming.losses.objective import GeneratorTerms, student_objective
from gan_slimming.student.student import Student
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.teacher_batches import TeacherBatch


class Gradients:
    """Sets a student's gradients as one process would that computes a step's images at once.

    The mean over equal parts of their gradients is the gradient of the whole. Batch norms see one
    part of each process.
    """

    def __init__(
        self, fabric: Fabric, context: TrainingContext, run: Run, features: FeatureDistillation
    ):
        self.fabric, self.context, self.run, self.features = fabric, context, run, features

    def backward(
        self, student: Student, batch: TeacherBatch, discriminator: nn.Module | None, weight: float
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Add the gradients of a step.

        Args:
            batch: this process's share of it.
            discriminator: frozen; None without the game.
            weight: of the features, where the batch has some.
        Returns:
            The terms, means over all processes, and this process's images, without gradient.
        """
        variances = variances_of_batch(batch.features)
        parts = self.parts(batch)
        found: list[GeneratorTerms] = []
        images = []
        for part in batch.parts(parts):
            with sharing_statistics():
                fake, distance = self._generate(student, part, variances)
                features = None if distance is None else (weight, distance)
                with self.fabric.autocast():
                    terms = student_objective(
                        self.run.objective, fake, part.images, self.context.distance,
                        discriminator, features,
                    )  # fmt: skip
            self.fabric.backward(terms.total / parts if parts > 1 else terms.total)
            found.append(GeneratorTerms(*(term.detach() for term in terms)))
            images.append(fake.detach())
        means = (
            found[0]
            if parts == 1
            else [torch.stack(each).mean() for each in zip(*found, strict=True)]
        )
        _join(student, means, parts)
        return GeneratorTerms(*means)._asdict(), images[0] if parts == 1 else torch.cat(images)

    def parts(self, batch: TeacherBatch) -> int:
        """Return the number of equal parts in which this process computes its share."""
        images = len(batch.indices)
        most = min(images, self.run.optimisation.images_at_once or images)
        return next(n for n in range(1, images + 1) if images % n == 0 and images <= n * most)

    def _generate(
        self, student: Student, batch: TeacherBatch, variances: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Return the student's images, and the distance of its features where these are asked."""
        adapter = self.context.adapt(student)

        def generate() -> Tensor:
            with self.fabric.autocast(), self.context.noise(batch.seeds):
                return adapter(*batch.inputs).float()

        if not batch.features:
            return generate(), None
        images, features = self.features.of_student(student, generate, batch.seeds)
        return images, feature_distance(features, batch.features, variances)


def _join(student: Student, terms: Sequence[Tensor], parts: int) -> None:
    """Average gradients and terms over the processes, in place."""
    average([p.grad for p in student.parameters() if p.grad is not None] + list(terms))
    pieces = parts * count()
    for scale in student.ranges() if pieces > 1 else ():
        if scale.grad is not None:  # LSQ divides it by the root of the number of values it saw
            scale.grad.div_(pieces**0.5)
