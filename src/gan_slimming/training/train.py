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
    with interruptible() as stopped:
        if trainer.step == 0:
            with trainer.stopwatch.lap():
                found = trainer.begin()
            if found:
                folder.append_metrics(found | {"step": 0, "seconds": trainer.seconds})
        while not trainer.schedule.over:
            with trainer.stopwatch.lap():
                terms = trainer.advance()
                terms |= {"step": trainer.step, "seconds": trainer.seconds, **trainer.quality()}
            folder.append_metrics(terms)
            if trainer.schedule.stage.slimming:
                ends = trainer.schedule.stage_ends
                log_gates(folder, trainer.student, trainer.step, trainer.seconds, ends)
            trainer.context.on_step(trainer.step, terms)
            if stopped() or time.monotonic() - saved > SAVE_SECONDS:
                folder.save_checkpoint(trainer.state_dict())
                saved = time.monotonic()
            if stopped():
                raise Interrupted(
                    f"stopped after {trainer.schedule}, nothing is lost; go on with gan-slimming "
                    f"compress --resume --output {folder}"
                )
    return trainer.finish()
