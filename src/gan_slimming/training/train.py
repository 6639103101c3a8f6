"""The loop: steps, metrics, checkpoints, and a stop that loses nothing."""

from __future__ import annotations

import time

from gan_slimming.errors import Interrupted
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.student import Student
from gan_slimming.training.interruption import interruptible
from gan_slimming.training.records import log_gates
from gan_slimming.training.trainer import Trainer

SAVE_SECONDS = 240.0
"""Time between two checkpoints."""


def train(trainer: Trainer, folder: RunFolder) -> Student:
    """Train to the last step and return the final student (the moving average, if kept).

    Args:
        trainer: fresh, or with the state of a checkpoint.
        folder: gets the metrics and the checkpoints.
    Raises:
        Interrupted: Ctrl-C; the run has been saved.
    """
    saved = time.monotonic()
    started = saved - trainer.seconds
    with interruptible() as stopped:
        if trainer.step == 0:
            trainer.begin()
        while trainer.step < trainer.settings.steps:
            terms = trainer.advance()
            trainer.seconds = time.monotonic() - started
            terms |= {"step": trainer.step, "seconds": trainer.seconds, **trainer.quality()}
            folder.append_metrics(terms)
            log_gates(folder, trainer.student, trainer.step, trainer.seconds, trainer.slim_steps)
            trainer.context.on_step(trainer.step, terms)
            if stopped() or time.monotonic() - saved > SAVE_SECONDS:
                folder.save_checkpoint(trainer.state_dict())
                saved = time.monotonic()
            if stopped():
                raise Interrupted(
                    f"stopped after step {trainer.step} of {trainer.settings.steps}, nothing is "
                    f"lost; go on with gan-slimming compress --resume --output {folder}"
                )
    return trainer.final()
