"""The search for the smallest student that has the quality that the user states.

One continuous run. A student that meets the target is kept and slimmed further; one that does not
is trained on until it does, or given up after some time for the one that was kept, which is then
slimmed by less. In the last part of the run nothing is slimmed, so that the last student has time
to recover. What is kept in the end is the smallest student that met the target, else the one that
came nearest to it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from gan_slimming.config import Target
from gan_slimming.errors import UserError
from gan_slimming.metrics.flip import flip_installed
from gan_slimming.perceptual.lpips import load_lpips
from gan_slimming.pruning.groups import macs_left, parameters_left
from gan_slimming.student.student import Student
from gan_slimming.student.surgery import extract, restore
from gan_slimming.training.schedule import Schedule

MIN_HELD_OUT = 8
"""Fewest held-out images whose mean a target can be judged by."""
LOOK_SHARE = 0.03
"""Share of the run between two looks, and of recovery before the first after slimming."""
LOOK_COST = 3.0
"""Least time from one look to the next over that of a look, where a run goes by the clock."""
SETTLE_SHARE = 0.25
"""Share of the run, its last, in which nothing is slimmed."""
SLIM_SHARE_FOR = math.log(20)
"""Logarithm of the factor in cost that `slim_share` of the steps is for."""
LEAST_FACTOR, MOST_FACTOR = 0.7, 0.85
"""Limits of the factor on the cost from one look to the next."""
SLIGHT_FACTOR = 0.95
"""Factor above which slimming is not worth its trouble."""
PATIENCE_SHARE = 0.2
"""Share of the run after which a student that does not meet the target is given up."""

Judge = Callable[[nn.Module], dict[str, float]]
"""Measures a generator in its own convention on all held-out inputs."""


class TargetWarning(UserWarning):
    """A warning that a target was not reached."""


@dataclass(frozen=True)
class Look:
    """A student on the way, and its quality on all held-out images."""

    step: int
    macs: int
    parameters: int
    value: float
    """Mean of the target's metric."""
    met: bool


@dataclass(frozen=True)
class Descent:
    """A way to a smaller student."""

    factor: float
    """Factor on the cost."""
    start: Student | None
    """The student to go back to; None for the present one."""


class Search:
    """The looks of a run, and the best student so far.

    Args:
        target: the quality that is asked for.
        judge: measures a student, with the code of the run's final judgement.
    """

    def __init__(self, target: Target, judge: Judge):
        assert target.kind is not None
        self.target, self.judge = target, judge
        self.metric = target.kind
        self.looks: list[Look] = []
        self.kept: tuple[Look, Student] | None = None
        self.due = 0.0
        """Position of the next look."""
        self.spacing = 0.0
        """Least distance between two looks, by what the last one cost."""
        self._looked = False
        self.missed = 0
        """MACs of the last student that was given up; 0 without one."""

    def is_due(self, schedule: Schedule) -> bool:
        """Return whether it is time for a look; asked after every step."""
        if self._looked:
            self._looked, self.spacing = False, LOOK_COST * schedule.stride
            self.due = max(self.due, schedule.position + self.spacing)
        recovers = not schedule.stage.slimming and schedule.step > schedule.stage.first_step
        return recovers and (schedule.over or schedule.position >= self.due)

    def wait(self, schedule: Schedule) -> None:
        """Let the next look come after a share of the run."""
        self.due = schedule.position + max(schedule.length_of(LOOK_SHARE), self.spacing)

    def look(self, final: Student, schedule: Schedule) -> dict[str, float]:
        """Measure a student as it would be handed out, and keep it if it is the best so far.

        Returns:
            The means, with macs, parameters and met (1 or 0), for metrics.jsonl.
        """
        self.wait(schedule)
        self._looked = True
        found = self.judge(extract(final))
        alive, value = final.alive(), found[self.metric]
        costs = {
            "macs": macs_left(final.graph, alive),
            "parameters": parameters_left(final.graph, alive),
        }
        look = Look(schedule.step, **costs, value=value, met=self.target.met(value))
        self.looks.append(look)
        if self.kept is None or self._rank(look) <= self._rank(self.kept[0]):
            self.kept = look, final
        return found | costs | {"met": int(look.met)}

    def next(self, schedule: Schedule) -> Descent | None:
        """Return how to slim further after the last look; None to train on.

        The distance is taken to be inversely proportional to the cost, which is cautious: what is
        lost by slimming comes back in part. A student that does not meet the target for long is
        given up for the one that did, which then loses half as much. One that is much nearer than
        the target passes by those given up: training has gone on since.
        """
        assert self.kept is not None
        last, (best, student) = self.looks[-1], self.kept
        if 1 - schedule.share <= SETTLE_SHARE:
            return None
        if last.met:
            start, macs, factor = None, last.macs, self.target.distance(last.value)
        else:
            tried = schedule.position - schedule.stage.start
            if not best.met or tried <= PATIENCE_SHARE * schedule.length:
                return None
            self.missed = last.macs
            start, macs, factor = student, best.macs, 0.0
        factor = min(MOST_FACTOR, max(LEAST_FACTOR, factor))
        if start is not None or self.target.distance(last.value) > MOST_FACTOR:
            factor = max(factor, math.sqrt(self.missed / macs))
        return Descent(factor, start) if factor <= SLIGHT_FACTOR else None

    def outcome(self, whole: int) -> dict[str, Any]:
        """Return the target, what was reached and the curve, for summary.json.

        Args:
            whole: the teacher's MACs.
        """
        assert self.kept is not None
        best = self.kept[0]
        return {
            "metric": self.metric,
            "value": self.target.value,
            "reached": best.value,
            "met": best.met,
            "step": best.step,
            "text": self._text(best, best.macs / whole),
            "curve": [asdict(look) for look in self.looks],
        }

    def state_dict(self) -> dict[str, Any]:
        """Return all that the search depends on: numbers and tensors."""
        assert self.kept is not None
        look, student = self.kept
        return {
            "due": [self.due, self.spacing, self._looked, self.missed],
            "looks": [asdict(look) for look in self.looks],
            "kept": asdict(look),
            "channels": student.kept,
            "identities": student.identities,
            "student": student.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], fresh: Student) -> None:
        """Go on from a state.

        Args:
            fresh: a student as prepared; it is copied.
        """
        student = copy.deepcopy(fresh)
        restore(student, state["channels"], state["identities"])
        student.load_state_dict(state["student"])
        for gate in student.gates:
            gate.requires_grad_(False)
        self.due, self.spacing, self._looked, self.missed = state["due"]
        self.looks = [Look(**look) for look in state["looks"]]
        self.kept = Look(**state["kept"]), student.eval()

    def _rank(self, look: Look) -> tuple[float, ...]:
        """Return what is least for the best look: of those that met the target, the smallest."""
        distance = self.target.distance(look.value)
        distance = distance if math.isfinite(distance) else math.inf
        return (0, look.macs, distance) if look.met else (1, distance, look.macs)

    def _text(self, best: Look, share: float) -> str:
        goal = f"target.{self.metric} {self.target.value:g}"
        if best.met:
            return f"{goal} is met, with {best.value:.3g} at {share:.1%} of the teacher's MACs."
        return (
            f"{goal} was not reached: the best student found has {best.value:.3g} at {share:.1%} "
            "of the teacher's MACs; train longer, or ask for less."
        )


def slimming_share(factor: float, slim_share: float) -> float:
    """Return the share of the run for slimming to a factor of the cost."""
    return slim_share * -math.log(factor) / SLIM_SHARE_FOR


def check_target(target: Target, held_out: int) -> None:
    """Raise UserError where held-out images, a package or weights to judge a target by are missing.

    Args:
        held_out: number of held-out images.
    """
    if target.kind is None:
        return
    if held_out < MIN_HELD_OUT:
        raise UserError(
            f"target.{target.kind} is judged on at least {MIN_HELD_OUT} held-out images, here are "
            f"{held_out}; hold out more with --holdout {MIN_HELD_OUT}, or add images"
        )
    if target.kind == "flip" and not flip_installed():
        raise UserError("target.flip needs a package; pip install 'gan-slimming[flip]'")
    if target.kind == "lpips":
        load_lpips()  # downloads its weights where they are missing
