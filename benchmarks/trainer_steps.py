"""Steps of a trainer, taken by a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gan_slimming.training.trainer import Trainer

Step = Callable[[Any], dict[str, float]]
"""Takes a trainer through one step; returns the step's terms."""


@contextmanager
def steps_through(take: Callable[[Any, Step], dict[str, float]]) -> Iterator[None]:
    """Meanwhile trainers take each step as `take(trainer, step)` does, and track no quality."""
    original = Trainer.train_step

    def train_step(trainer: Any) -> dict[str, float]:
        trainer.context.track = lambda generate: {}  # no part of a step
        return take(trainer, original)

    setattr(Trainer, "train_step", train_step)  # noqa: B010
    try:
        yield
    finally:
        setattr(Trainer, "train_step", original)  # noqa: B010
