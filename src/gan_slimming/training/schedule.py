"""Where a run stands: what learning rates, budget, half size and hidden layers follow.

By steps, the position of a run is their number. By the clock it is the share of the run's steps
that is over, in [0, 1], by what steps cost at each stage. metrics.jsonl records it, so that a run
by the clock can be repeated bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gan_slimming.config import Optimisation
from gan_slimming.training.clock import share_of_steps, step_costs

HAND_OVER = 0.5
"""Share of its learning rates with which slimming to a budget ends, and recovery goes on."""
PLAN_AT = 0.02
"""Share of a run by the clock, behind its first step, after which its steps are estimated."""
GROWTH = 1.2
"""Factor above its last estimate from which a new one counts."""
DIGITS = 6
"""Decimals of a position: few enough for metrics.jsonl to hold it exactly."""


@dataclass(frozen=True)
class Stage:
    """A stage of a run: slimming, in which gates shrink, or recovery, in which none are left to."""

    slimming: bool
    first_step: int
    """Number of steps before it."""
    start: float
    """Position at its beginning."""
    end: float
    """Position at which it ends."""


class Schedule:
    """The position of a run, and its stage.

    Args:
        settings: they say whether the run goes by steps or by the clock.
        slims: whether it begins by slimming.
        by_rho: whether that is by the paper's rho, without a goal.
        halves: whether steps at half the size are possible.
        searches: whether stages come and go: one cosine then spans the whole run.
        positions: of an earlier run by the clock after each of its steps, which is repeated.
    """

    def __init__(
        self,
        settings: Optimisation,
        *,
        slims: bool,
        halves: bool,
        by_rho: bool = False,
        searches: bool = False,
        positions: Sequence[float] = (),
    ):
        self.settings, self.halves, self.searches = settings, halves, searches
        self.positions = list(positions)
        self.step = 0
        self.by_clock = settings.minutes is not None
        self.steps = settings.steps or 0
        """Expected number of steps; 0 while unknown."""
        self.length: float = settings.steps or 1.0
        """Position of the end."""
        slim_share = settings.slimming(by_rho=by_rho) if slims else 0.0
        self._costs = step_costs(slim_share, settings.half_size_share if halves else 0.0)
        self._before = self._now = self._first = 0.0
        end = self.length_of(slim_share) if slims else 0
        self.stage = Stage(slims, 0, 0, end if slims else self.length)

    def length_of(self, share: float) -> float:
        """Return the length of a share of the run: by steps a whole number, at least 1."""
        length = share * self.length
        return length if self.by_clock else max(1, round(length))

    @property
    def position(self) -> float:
        """Return where the run stands."""
        return self._now if self.by_clock else self.step

    @property
    def after(self) -> float:
        """Return where the next step leads; the clock tells only afterwards."""
        return self._now if self.by_clock else self.step + 1

    @property
    def stride(self) -> float:
        """Return how far the last step led by the clock, with all that came before it; else 0."""
        return self._now - self._before

    @property
    def over(self) -> bool:
        """Return whether the run has ended; slimming is never left unfinished."""
        return not self.stage.slimming and self.position >= self.length

    @property
    def slims_last(self) -> bool:
        """Return whether the next step is the last of slimming."""
        return self.stage.slimming and self.after >= self.stage.end

    @property
    def share(self) -> float:
        """Return the share of the run that is over."""
        return self.position / self.length

    @property
    def recovered(self) -> float:
        """Return the share of the stage that is over, in [0, 1)."""
        return (self.position - self.stage.start) / (self.stage.end - self.stage.start)

    @property
    def downscale(self) -> int:
        """Return the factor by which images are made smaller: 2 early on, 1 in the end."""
        early = self.position < self.settings.half_size_share * self.length
        return 2 if early and self.halves else 1

    @property
    def total(self) -> int:
        """Return the number of steps that is expected now, at least those that were taken."""
        if not self.by_clock:
            return self.steps
        # What comes before the first step, such as calibration, is no measure of those to come.
        since = self._now - self._first
        return round(self.step + (1 - self._now) * (self.step - 1) / since) if since else self.step

    @property
    def stage_ends(self) -> int:
        """Return the step with which the stage ends, as far as it is known."""
        if not self.by_clock:
            return int(self.stage.end)
        return max(self.step + 1, round(self.stage.end * self.total))

    def tick(self, seconds: float) -> bool:
        """Note that a step has ended; return whether more steps are expected than before.

        The first steps, of the dense network, are slow, so that the estimate rises for a while.

        Args:
            seconds: of work since the beginning.
        """
        self.step += 1
        if not self.by_clock:
            return False
        assert self.settings.minutes is not None
        self._before = self._now
        if self.positions:
            self._now = self.positions[min(self.step, len(self.positions)) - 1]
        else:
            share = share_of_steps(seconds / (60 * self.settings.minutes), self._costs)
            self._now = max(self._now, round(share, DIGITS))
        if self.step == 1:
            self._first = self._now
        if self._now - self._first < PLAN_AT or self.total <= GROWTH * self.steps:
            return False
        self.steps = self.total
        return True

    def begin(self, *, slimming: bool, share: float | None = None) -> None:
        """Begin a stage, of a share of the run or to its end."""
        end = self.length if share is None else self.position + self.length_of(share)
        self.stage = Stage(slimming, self.step, self.position, end)

    def rate_factor(self, to_budget: bool) -> float:
        """Return the factor on all learning rates at the next step.

        Args:
            to_budget: slimming to a budget ends at HAND_OVER of its rates, to the paper's rho at 0.
        """
        start, end = (0, self.length) if self.searches else (self.stage.start, self.stage.end)
        hands_over = self.stage.slimming and to_budget and not self.searches
        factor = cosine(self.position - start, end - start, HAND_OVER if hands_over else 0.0)
        return factor * warm_up(self.step - self.stage.first_step, self.settings.warmup)

    def crosses(self, times: int) -> bool:
        """Return whether the last step ended one of `times` equal parts of the stage."""
        left = self.length - self.position
        if not self.by_clock:
            return left % max(1, int((self.length - self.stage.start) / times)) == 0
        every = max(1e-9, (self.length - self.stage.start) / times)
        return math.ceil(left / every) < math.ceil((self.length - self._before) / every)

    def record(self) -> dict[str, float]:
        """Return what metrics.jsonl needs beside the step to repeat the run."""
        return {"progress": self._now} if self.by_clock else {}

    def __str__(self) -> str:
        """Return how far the run is, in words."""
        if not self.by_clock:
            return f"step {self.step} of {self.steps}"
        return f"step {self.step}, {self._now:.0%} of {self.settings.minutes:g} minutes"

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next position depends on: numbers."""
        state = {"position": self._now, "first": self._first, "steps": self.steps}
        state |= {"positions": self.positions, "stage": asdict(self.stage)}
        return {"step": self.step, **state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, or from the step alone, which is all that version 0.1 saved."""
        self.step = state["step"]
        if "stage" in state:
            self._before = self._now = state["position"]
            self._first = state.get("first", 0.0)
            self.steps, self.positions = state["steps"], state["positions"]
            self.stage = Stage(**state["stage"])
        elif not self.stage.slimming or self.step >= self.stage.end:
            end = self.stage.end if self.stage.slimming else 0
            self.stage = Stage(False, int(end), end, self.length)


def cosine(at: float, length: float, lowest: float = 0.0) -> float:
    """Return the factor on the learning rate at `at` (from 0) of a stretch of `length`.

    lowest + (1 - lowest) * (1 + cos(pi * at / length)) / 2
    """
    at = min(at, length)
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * at / length)) / 2


def warm_up(step: int, warmup: int) -> float:
    """Return the factor at `step` (from 0) of a linear rise over `warmup` steps."""
    return min(1.0, (step + 1) / max(warmup, 1))
