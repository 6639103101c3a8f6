"""What is measured on training inputs between the steps: ranges, saliency, running statistics."""

from __future__ import annotations

from collections.abc import Iterator

from lightning_fabric import Fabric

from gan_slimming.config import Run
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.ranks.collectives import copy_from_first
from gan_slimming.data.ranks.shared_statistics import sharing_statistics
from gan_slimming.student.student import Student, calibrate
from gan_slimming.training.batch_statistics import has_batch_statistics, recalibrate
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.saliency import start_gates

BATCHES = 4
"""Batches of one for ranges and for saliency."""
RECALIBRATION_BATCHES = 16
"""Batches from which a final student's running statistics are taken."""


class Calibration:
    """Sets what follows from inputs and not from gradients, on the same inputs each time."""

    def __init__(self, fabric: Fabric, context: TrainingContext, run: Run):
        self.fabric, self.context, self.run = fabric, context, run

    def ranges(self, student: Student) -> None:
        """Set the activation ranges, where there are any, in place."""
        if self.run.bits is None:
            return
        student.eval()
        with self.fabric.autocast():
            calibrate(student, self._inputs(BATCHES, self.run.seed + 4))
        copy_from_first([*student.parameters(), *student.buffers()])
        student.train()

    def gates(self, student: Student) -> None:
        """Set the gates to the saliency of their channels, unless the run starts them at one."""
        if self.run.optimisation.gate_start == "saliency":
            with self.fabric.autocast():
                start_gates(student, self._inputs(BATCHES, self.run.seed + 3), self.run.seed)
            copy_from_first([*student.parameters(), *student.buffers()])

    def statistics(self, final: Student) -> None:
        """Set the running statistics of a final student, whose weights are averages."""
        if has_batch_statistics(final):
            batch_size, seed = self.run.optimisation.batch(), self.run.seed + 5
            with sharing_statistics():
                recalibrate(final, self._inputs(RECALIBRATION_BATCHES, seed, batch_size, own=True))

    def _inputs(
        self, count: int, seed: int, batch_size: int = 1, *, own: bool = False
    ) -> Iterator[Inputs]:
        return self.context.batches(count, seed, batch_size, self.fabric.device, own=own)
