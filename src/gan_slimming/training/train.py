"""The loop: steps, metrics, checkpoints, and a stop that loses nothing."""

from __future__ import annotations

import logging

from gan_slimming.data.ranks.collectives import largest
from gan_slimming.errors import Interrupted, system_reason
from gan_slimming.graph.fusion import fusing
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.student import Student
from gan_slimming.training.divergence import Diverged
from gan_slimming.training.interruption import interruptible
from gan_slimming.training.records import log_gates
from gan_slimming.training.saving import Saves
from gan_slimming.training.trainer import Trainer

STOP = 2
"""What a process asks for at the end of a step; 1 asks for a checkpoint alone."""
_log = logging.getLogger("gan_slimming")


def train(trainer: Trainer, folder: RunFolder) -> Student:
    """Train to the last step and return the final student (the moving average, if kept).

    Args:
        trainer: fresh, or with the state of a checkpoint.
        folder: gets the metrics and the checkpoints.
    Raises:
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; the run has been saved.
        Diverged: the numbers are no longer finite, also with lower learning rates.
    """
    saves = Saves(folder, trainer, trainer.run.checkpoint_seconds)
    with fusing(trainer.run.compile == "on"), interruptible() as stopped:
        if not trainer.begun:
            with trainer.stopwatch.lap():
                found = trainer.begin()
            if found:
                folder.append_metrics(found | {"step": 0, "seconds": trainer.seconds})
            saves.save()  # or a run that is killed early could not go on
        else:
            saves.step = trainer.step
        while not trainer.schedule.over:
            at, asked = trainer.step + 1, 0
            try:
                with trainer.stopwatch.lap():
                    terms = trainer.advance()
                    terms |= {"step": trainer.step, "seconds": trainer.seconds, **trainer.quality()}
                _log_step(trainer, folder, terms)
                trainer.context.on_step(trainer.step, terms)
                folder.lock.touch()
                asked = largest(STOP if stopped() else int(saves.due()))
                if asked or trainer.schedule.over:
                    saves.save()
            except Diverged as found:
                saves.go_back(found, at)
            if asked == STOP:
                raise Interrupted(_goodbye(trainer, folder, saves))
    return trainer.finish()


def _log_step(trainer: Trainer, folder: RunFolder, terms: dict[str, float]) -> None:
    """Write the log; lines that the disk refuses wait for the next step."""
    if "skipped" in terms:
        text = "step %d is not finite and left out, the %d. such step"
        _log.warning(text, trainer.step, terms["skipped"])
    try:
        folder.append_metrics(terms)
        if trainer.schedule.stage.slimming:
            ends = trainer.schedule.stage_ends
            log_gates(folder, trainer.student, trainer.step, trainer.seconds, ends)
    except OSError as error:
        text = "step %d is not in the log yet (%s); the run goes on"
        _log.warning(text, trainer.step, system_reason(error))


def _goodbye(trainer: Trainer, folder: RunFolder, saves: Saves) -> str:
    """Return what is said to a user who stops a run."""
    at = f"stopped after {trainer.schedule}"
    state = "nothing is lost"
    if saves.step != trainer.step:
        state = f"which could not be saved ({saves.problem}), {saves.kept()}; then"
    return f"{at}, {state}{';' if saves.step == trainer.step else ''} go on with " + (
        trainer.context.resume_command or f"gan-slimming compress --resume --output {folder}"
    )
