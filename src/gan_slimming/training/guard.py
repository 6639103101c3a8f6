"""The guard over a run's numbers: what is not finite is left out, found, and named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor

from gan_slimming.config import Run
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.ranks.collectives import first_found
from gan_slimming.student.student import Student
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.divergence import (
    Diverged,
    Watch,
    cause_in_student,
    is_finite,
    read_terms,
)


class Guard(Watch):
    """A watch that knows the student's inputs, and so can say where its numbers went wrong.

    Args:
        features: weight of the feature distillation, where there is any.
    """

    def __init__(self, fabric: Fabric, context: TrainingContext, run: Run, features: float):
        o = run.objective
        weights = (o.distill_weight, o.pixel_weight, o.colour_weight, o.lattice_weight)
        super().__init__(sum(weights) + o.adversarial_weight + features)
        self._fabric, self._context, self._seed = fabric, context, run.seed + 6

    def read(
        self,
        student: Student,
        terms: Mapping[str, Tensor],
        inputs: Inputs,
        indices: Sequence[int],
    ) -> tuple[dict[str, float], bool]:
        """Return a step's terms as numbers, and whether the step is to be taken.

        Of a step that is left out only the finite terms are returned, and the count of such steps.

        Args:
            student: after the backward pass.
            terms: scalars.
            inputs, indices: the step's batch, and the number of each input in its set.
        Raises:
            Diverged: the third such step in a row, one that has reached the student's state, or a
                loss that has been out of its range for long.
        """
        told, finite = read_terms(terms, student.parameters())
        if finite:
            self.take(told["total"])
            return told, True
        if self.skip() or not is_finite(student.state_dict()):
            names = [self._context.inputs.name(index) for index in indices]
            found = self._cause(student, inputs, names)
            found = first_found(found)  # it may be another process's image
            raise Diverged(found or f"the student's gradient is not finite for {names[0]}")
        left = {name: value for name, value in told.items() if abs(value) < float("inf")}
        return left | {"skipped": self.skipped}, False

    def fault(self, student: Student) -> str | None:
        """Return what is not finite in a student or in its answer to one input; None if sound."""
        images, device = self._context.inputs, self._fabric.device
        indices, chosen = self._context.sampler(1, self._seed).next(images.augmentations())
        inputs = tuple(x.to(device) for x in images.batch(indices, chosen))
        student.eval()
        with torch.random.fork_rng(devices=[]):
            found = self._cause(student, inputs, [images.name(int(indices[0]))])
        student.train()
        return found

    def _cause(self, student: Student, inputs: Inputs, names: Sequence[str]) -> str | None:
        with self._fabric.autocast():
            return cause_in_student(student, inputs, names, self._context.adapt(student))
