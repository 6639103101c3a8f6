"""A run towards a quality: it slims, recovers and looks, and goes on with what the search says."""

from __future__ import annotations

import copy
from typing import Any

from lightning_fabric import Fabric

from gan_slimming.config import Budget, Run
from gan_slimming.pruning.groups import macs_left
from gan_slimming.student.student import Student
from gan_slimming.training.budget import can_slim
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.search import Search, slimming_share
from gan_slimming.training.trainer import Trainer


class TargetTrainer(Trainer):
    """A trainer whose stages follow a `Search`; it begins with a look."""

    searches = True

    def _start(self, student: Student) -> None:
        self.search = Search(self.run.target, self.context.judged)
        super()._start(student)

    def begin(self) -> dict[str, float]:
        """Start with a recovery; return what the search starts at."""
        super().begin()
        return self._look()

    def begin_slimming(self, factor: float) -> None:
        """Slim once more, to a factor of the present cost."""
        share = slimming_share(factor, self.settings.slimming())
        self.schedule.begin(slimming=True, share=share)
        self.controller = self.make_controller(Budget(macs=factor))
        for gate in self.student.gates:
            gate.requires_grad_(True)
        self.ema = None
        self.guard.clear()
        self.calibration.gates(self.student)
        self.make_optimizers()

    def begin_recovery(self) -> None:
        """Go on as a plain small net, and let the search wait for it to recover."""
        super().begin_recovery()
        self.search.wait(self.schedule)

    def quality(self) -> dict[str, float]:
        """Return what a look finds, where one is due; it may begin to slim again."""
        return self._look() if self.search.is_due(self.schedule) else {}

    def _look(self) -> dict[str, float]:
        found = self.search.look(self.final(), self.schedule)
        descent = self.search.next(self.schedule)
        if descent is None:
            return found
        start = descent.start or self.student
        if can_slim(start.graph, descent.factor, self.settings.width_multiple):
            if start is not self.student:
                self.student = copy.deepcopy(start).train()
                self.cost_at_cut = macs_left(self.student.graph, {})
            self.begin_slimming(descent.factor)
        return found

    def finish(self) -> Student:
        """Return the smallest student that met the target, else the one that came nearest."""
        assert self.search.kept is not None
        return self.search.kept[1]

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step and the next look depend on."""
        return super().state_dict() | {"search": self.search.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`, bit for bit. The student is as prepared from the same teacher."""
        self.search.load_state_dict(state["search"], self.student)
        super().load_state_dict(state)


def trainer_of(fabric: Fabric, student: Student, run: Run, context: TrainingContext) -> Trainer:
    """Return the trainer of a run: to a budget, or to a quality."""
    kind = TargetTrainer if run.target.kind else Trainer
    return kind(fabric, student, run, context)
