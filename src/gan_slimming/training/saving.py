"""Checkpoints at their time, a disk that refuses, and the way back from a divergence."""

from __future__ import annotations

import logging
import time
from typing import Any

from gan_slimming.data.ranks.collectives import from_first
from gan_slimming.errors import system_reason
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.training.divergence import BadAnswer, Diverged, is_finite
from gan_slimming.training.test_time import has_untrained_norms
from gan_slimming.training.trainer import Trainer

RETURNS = 3
"""Times that a run goes back to its last good checkpoint before it stops."""
LOWER_RATE = 0.5
"""Factor on all learning rates each time."""
_log = logging.getLogger("gan_slimming")


class Saves:
    """The checkpoints of a run under way, none of which is ever not finite.

    Args:
        seconds: between two checkpoints.
    """

    def __init__(self, folder: RunFolder, trainer: Trainer, seconds: float):
        self.folder, self.trainer, self.seconds = folder, trainer, seconds
        self.step: int | None = None
        """The step of the last checkpoint; None before the first."""
        self.problem: str | None = None
        """Why the last try failed."""
        self.returns = 0
        self._stage = self._at_cut()
        self._next = time.monotonic() + seconds

    def due(self) -> bool:
        """Return whether it is time: the interval is over, or channels were cut the first time."""
        first_cut = not self._stage and self._at_cut()
        return first_cut or time.monotonic() >= self._next

    def save(self) -> bool:
        """Write a checkpoint of a sound state; return whether it is on the disk, and say if not.

        Raises:
            Diverged: the state is not finite.
        """
        if self.trainer.guard.in_a_row:
            self.problem = "the last steps are not finite"
            return False
        if found := self.trainer.guard.fault(self.trainer.student):
            raise Diverged(found)
        state = self.trainer.state_dict()
        for name in ("ema", "optimizers", "discriminator"):
            if not is_finite(state[name]):
                raise Diverged(f"the state of the run ({name}) is not finite")
        self._stage = self._stage or self._at_cut()
        self._next = time.monotonic() + self.seconds
        if problem := from_first(lambda: self._write(state)):
            if problem != self.problem:
                _log.warning(
                    "the checkpoint of step %d cannot be saved (%s); the run goes on, %s",
                    self.trainer.step, problem, self.kept(),
                )  # fmt: skip
            self.problem = problem
            return False
        self.step, self.problem = self.trainer.step, None
        return True

    def _write(self, state: dict[str, Any]) -> str | None:
        """Write a checkpoint; return why the disk refuses it, None where it does not."""
        try:
            self.folder.save_checkpoint(state)
        except OSError as error:
            return system_reason(error)
        return None

    def kept(self) -> str:
        """Return which step is safe, in words."""
        return "nothing is saved yet" if self.step is None else f"step {self.step} is saved"

    def go_back(self, found: Diverged, at: int) -> None:
        """Go on from the last good checkpoint with lower learning rates.

        Args:
            found: the divergence, in step `at`.

        Raises:
            Diverged: it has done so too often, there is no checkpoint, or the teacher is at fault.
        """
        returns = self.returns
        if isinstance(found, BadAnswer):
            raise Diverged(f"stopped at step {at}: {found} ({self.kept()})") from found
        if self.step is None or returns >= RETURNS:
            often = f", also after {returns} returns with lower learning rates" if returns else ""
            way = (
                "take a lower --optimisation.recover_lr, --optimisation.lr and "
                "--optimisation.muon_lr with --overwrite"
            )
            if has_untrained_norms(self.trainer.context.teacher.generator):
                way = (
                    "the statistics of the teacher's batch norms were never trained, and are far "
                    "from those of its images: add --teacher-mode train if your own script leaves "
                    "it in train(), or give trained weights, with --overwrite"
                )
            raise Diverged(
                f"training diverged at step {at}{often}: {found}; {self.kept()} in {self.folder}; "
                f"{way}"
            ) from found
        self.returns += 1
        # The newest may be what leads there, although all its numbers are finite.
        first = self.returns == 1
        load = self.folder.load_checkpoint if first else self.folder.load_older_checkpoint
        self.trainer.go_back(from_first(load))
        self.trainer.rate = LOWER_RATE**self.returns
        self.folder.drop_metrics_after(self.trainer.step)
        _log.warning(
            "training diverged at step %d (%s); going on from step %d with %g times the learning "
            "rates", at, found, self.trainer.step, self.trainer.rate,
        )  # fmt: skip

    def _at_cut(self) -> bool:
        return self.trainer.cost_at_cut < self.trainer.whole_cost or not self.trainer.slims
