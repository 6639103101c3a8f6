"""The clocks of benchmarks/fidelity.py: processor time, or what steps cost on an idle machine.

On a shared machine a step takes up to twice the processor time, and not the same in each run. The
second clock counts each step at a fixed price, so that short runs can be compared; and as the
price of the teacher's answers is fixed, they can be kept for all runs.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

START = 6.0
"""Seconds until the first step."""
STEP = 0.02
"""Seconds of a step beside its images: optimisers, moving average, Python."""
IMAGE = {2: 0.078, 1: 0.262}
"""Downscale -> seconds for an image of a step: student and distance."""
DISCRIMINATOR = {2: 0.028, 1: 0.088}
"""Downscale -> seconds for an image: both players' steps, at width 32."""
NARROW = 0.6
"""Cost of a discriminator of width 16 over that of one of width 32."""
ANSWER = {2: 0.165, 1: 0.62}
"""Downscale -> seconds for an answer of the teacher."""


def processor_time() -> float:
    """Return seconds of processor time of this process and of those that it ran, a compiler's."""
    return sum(os.times()[:4])


class Clock:
    """Seconds of processor time per thread, of all of the process; wall-clock time on a GPU."""

    def __init__(self, threads: int, wall: bool):
        self._now = time.monotonic if wall else processor_time
        self._share = 1 if wall else threads
        self._start = self._now()
        self._away = 0.0

    def seconds(self) -> float:
        """Return the seconds since the start, those away left out."""
        return (self._now() - self._start - self._away) / self._share

    def away(self, work: Callable[[], None]) -> None:
        """Do something that does not count."""
        before = self._now()
        work()
        self._away += self._now() - before

    def step(self, trainer: Any, take: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Take a step."""
        return take()


class PriceClock(Clock):
    """Seconds at the prices above: Hayao's student of 5 % of the MACs, one thread, bf16."""

    def __init__(self) -> None:
        # Not above: earlier revisions, which only the other clock times, have no such file.
        from gan_slimming.training.clock import SLIM_STEP_COST

        super().__init__(1, wall=True)
        self.total = START
        self.slimming = SLIM_STEP_COST

    def seconds(self) -> float:
        """Return the sum of the prices so far."""
        return self.total

    def step(self, trainer: Any, take: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Take a step and add its price."""
        size, settings = trainer.schedule.downscale, trainer.settings
        slims = trainer.schedule.stage.slimming
        terms = take()
        image = IMAGE[size]
        if trainer.discriminator is not None:
            image += DISCRIMINATOR[size] * (1 if settings.discriminator_width > 16 else NARROW)
        price = STEP + settings.batch() * image
        self.total += price * (self.slimming if slims else 1)
        return terms

    def keep_answers(self, folder: Path) -> None:
        """Take the teacher's answers out of a folder, where they are, or put them there.

        Of one teacher and folder of photos. The channels that a student keeps say which features
        are compared, so answers with features are those of one set of channels.
        """
        from gan_slimming.training.teacher_batches import TeacherBatches

        folder.mkdir(parents=True, exist_ok=True)
        answer = TeacherBatches._answer

        def kept(batches: Any, student: Any, inputs: Any, seed: int, index: int) -> Any:
            self.total += ANSWER[2 if seed % 2 else 1]
            path = folder / f"{seed}-{channels_of(batches, student)}.pt"
            if not path.is_file():
                torch.save(answer(batches, student, inputs, seed, index), path)
            return torch.load(path, weights_only=True)

        setattr(TeacherBatches, "_answer", kept)  # noqa: B010


def channels_of(batches: Any, student: Any) -> str:
    """Return a name of the channels whose features are compared; 'images' without a student."""
    if student is None:
        return "images"
    kept = [
        layer.channels.cpu().numpy().tobytes() for layer in batches.features._layers.of(student)
    ]
    return hashlib.sha256(b"|".join(kept)).hexdigest()[:16]
