"""The teacher's pictures, made on the fly and kept as the teacher gave them, not as 8-bit files."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gan_slimming.data.images import PictureSet


class TeacherOutputs:
    """Pictures and the teacher's answers to them, each answer made once and kept as 16-bit floats.

    Answers are made one picture at a time, so that they do not depend on which pictures share a
    batch, and a resumed run sees the same ones.

    Args:
        teacher: (1, 3, size, size) RGB in [-1, 1] -> the same; runs without gradient.
        memory_limit: bytes of answers to keep; beyond that they are made again.
    """

    def __init__(
        self,
        pictures: PictureSet,
        teacher: Callable[[Tensor], Tensor],
        device: torch.device,
        memory_limit: int = 2 * 2**30,
    ):
        self.pictures = pictures
        self.teacher = teacher
        self.device = device
        self.memory_limit = memory_limit
        self.kept: dict[tuple[int, bool], Tensor] = {}
        self.bytes = 0

    def batch(self, indices: Tensor, flips: Tensor) -> tuple[Tensor, Tensor]:
        """(pictures, teacher's pictures), both (batch, 3, size, size) float32 RGB in [-1, 1]."""
        pictures = self.pictures.batch(indices, flips).to(self.device)
        answers = [
            self._answer((int(i), bool(f)), pictures[k : k + 1])
            for k, (i, f) in enumerate(zip(indices, flips, strict=True))
        ]
        return pictures, torch.cat(answers).float()

    @torch.no_grad()
    def _answer(self, key: tuple[int, bool], picture: Tensor) -> Tensor:
        if key in self.kept:
            return self.kept[key]
        answer = self.teacher(picture).to(torch.float16)
        if self.bytes + answer.nbytes <= self.memory_limit:
            self.kept[key] = answer
            self.bytes += answer.nbytes
        return answer
