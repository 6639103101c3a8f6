"""The loop of a teacher's training: time, rates, samples, checkpoints, and a stop without loss."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from gan_slimming.config.teacher import TeacherSettings
from gan_slimming.data.grid import as_grid
from gan_slimming.data.image_files import write_image
from gan_slimming.errors import Interrupted, system_reason
from gan_slimming.experiments.teachers.folder import TeacherFolder
from gan_slimming.experiments.teachers.game import Game, linear_decay
from gan_slimming.training.clock import Stopwatch
from gan_slimming.training.divergence import Diverged, is_finite
from gan_slimming.training.interruption import interruptible

SAMPLE_TIMES = 20
"""Grids of samples in a run, the last at its end."""
LOG_TIMES = 10_000
"""Most steps of a run that are logged."""
OnStep = Callable[[int, int, dict[str, float]], None]
"""Called after every step with (step, expected steps, terms)."""
_log = logging.getLogger("gan_slimming")


class Progress:
    """Where a run stands, by its steps or by the clock.

    Args:
        device: type of the device, for the clock.
    """

    def __init__(self, settings: TeacherSettings, device: str) -> None:
        self.settings, self.step = settings, 0
        self.stopwatch = Stopwatch(device)

    @property
    def share(self) -> float:
        """Return the share of the run that is over, in [0, 1]."""
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        assert self.settings.minutes is not None
        return min(1.0, self.stopwatch.seconds / (60 * self.settings.minutes))

    @property
    def total(self) -> int:
        """Return the expected number of steps."""
        if self.settings.steps is not None:
            return self.settings.steps
        return max(self.step, round(self.step / self.share)) if self.share else self.step

    def state_dict(self) -> dict[str, Any]:
        """Return step and seconds of work."""
        return {"step": self.step, "seconds": self.stopwatch.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.step = state["step"]
        self.stopwatch.set(state["seconds"])


def train(
    game: Game,
    folder: TeacherFolder,
    settings: TeacherSettings,
    device: str,
    *,
    resume: bool,
    on_step: OnStep,
) -> Progress:
    """Train to the end; return where that is.

    Args:
        folder: owned by this run; gets metrics, samples and checkpoints.
        device: type of the device.
        resume: whether to go on from the folder's checkpoint.
    Raises:
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; the run has been saved.
        Diverged: the numbers are no longer finite.
    """
    progress = Progress(settings, device)
    saves = Saves(folder, game, progress)
    if resume:
        saves.load()
    else:
        saves.save()  # or a run that is killed early could not go on
    with interruptible() as stopped:
        while progress.share < 1:
            before = progress.share
            terms = _step(game, progress)
            on_step(progress.step, progress.total, terms)
            _record(folder, progress, before, terms)
            if _crosses(before, progress.share, SAMPLE_TIMES):
                _show(folder, game, progress.step)
            over = progress.share >= 1
            if over or stopped() or saves.due():
                saves.save()
            if stopped() and not over:
                raise Interrupted(saves.goodbye())
    return progress


class Saves:
    """The checkpoints of a run under way."""

    def __init__(self, folder: TeacherFolder, game: Game, progress: Progress) -> None:
        self.folder, self.game, self.progress = folder, game, progress
        self.step: int | None = None
        """The step of the last checkpoint; None before the first."""
        self._next = time.monotonic() + progress.settings.checkpoint_seconds

    def due(self) -> bool:
        """Return whether the time between two checkpoints is over."""
        return time.monotonic() >= self._next

    def load(self) -> None:
        """Go on from the newest checkpoint that is whole."""
        state = self.folder.load_checkpoint()
        self.progress.load_state_dict(state)
        self.game.load_state_dict(state["game"])
        self.folder.drop_metrics_after(self.progress.step)
        self.step = self.progress.step

    def save(self) -> None:
        """Write a checkpoint of a sound state; a disk that refuses ends no run.

        Raises:
            Diverged: the state is not finite.
        """
        state = {**self.progress.state_dict(), "game": self.game.state_dict()}
        self._next = time.monotonic() + self.progress.settings.checkpoint_seconds
        step = self.progress.step
        if not is_finite(state):
            raise Diverged(
                f"the networks are not finite at step {step}; {self._kept()} in {self.folder}; "
                "take a lower --lr with --overwrite"
            )
        try:
            self.folder.save_checkpoint(state)
            self.step = step
        except OSError as error:
            reason = system_reason(error)
            _log.warning("step %d cannot be saved (%s); %s", step, reason, self._kept())

    def goodbye(self) -> str:
        """Return what is said to a user who stops a run."""
        step, name = self.progress.step, self.progress.settings.name
        state = "nothing is lost" if self.step == step else self._kept()
        return (
            f"stopped after step {step}, {self.progress.share:.0%} of the run, {state}; go on with "
            f"gan-slimming teacher {name} --resume --output {self.folder}"
        )

    def _kept(self) -> str:
        return "nothing is saved yet" if self.step is None else f"step {self.step} is saved"


def _step(game: Game, progress: Progress) -> dict[str, float]:
    """Take one step at the rate of its place in the run."""
    with progress.stopwatch.lap():
        game.set_rate(linear_decay(progress.share, progress.settings.decay_from))
        terms = game.step(progress.step)
    progress.step += 1
    return terms


def _crosses(before: float, after: float, times: int) -> bool:
    """Return whether a step ended one of `times` equal parts of the run."""
    return int(before * times + 1e-9) < int(after * times + 1e-9)


def _record(
    folder: TeacherFolder, progress: Progress, before: float, terms: dict[str, float]
) -> None:
    """Write a step's terms to the log; lines that the disk refuses wait for the next."""
    folder.lock.touch()
    if not _crosses(before, progress.share, LOG_TIMES) and progress.step > 1:
        return
    seconds = round(progress.stopwatch.seconds, 3)
    try:
        folder.append_metrics({"step": progress.step, "seconds": seconds, **terms})
    except OSError as error:
        _log.warning("step %d is not in the log yet (%s)", progress.step, system_reason(error))


def _show(folder: TeacherFolder, game: Game, step: int) -> None:
    """Write a grid of samples."""
    try:
        write_image(folder.samples / f"step_{step:07d}.png", as_grid(game.samples()))
    except OSError as error:
        _log.warning("the samples of step %d cannot be written (%s)", step, system_reason(error))
