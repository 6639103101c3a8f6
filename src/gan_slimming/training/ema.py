"""The moving average of a student, which becomes the final generator."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, student: nn.Module, decay: float, age: int) -> None:
    """Move the average towards the student, in place; buffers are copied.

    average <- d * average + (1 - d) * student, d = min(decay, (1 + age) / (10 + age))

    Args:
        average: a copy of the student, `age` steps ago.
        decay: in [0, 1); the average moves faster than that at first.
    """
    decay = min(decay, (1 + age) / (10 + age))
    for mean, current in zip(average.parameters(), student.parameters(), strict=True):
        mean.lerp_(current, 1 - decay)
    for mean, current in zip(average.buffers(), student.buffers(), strict=True):
        mean.copy_(current)
