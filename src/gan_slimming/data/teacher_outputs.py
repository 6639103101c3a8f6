"""The teacher's pictures, made on the fly and kept as the teacher gave them, not as 8-bit files."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
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
        self.kept: dict[tuple[int, bool, int], Tensor] = {}
        self.bytes = 0

    def batch(self, indices: Tensor, flips: Tensor, shrink: int = 1) -> tuple[Tensor, Tensor]:
        """(pictures, teacher's pictures), both (batch, 3, side, side) float32 RGB in [-1, 1].

        side = size / shrink: the whole pictures made smaller, and what the teacher says to those.
        """
        pictures = shrunk(self.pictures.batch(indices, flips).to(self.device), shrink)
        answers = [
            self._answer((int(i), bool(f), shrink), pictures[k : k + 1])
            for k, (i, f) in enumerate(zip(indices, flips, strict=True))
        ]
        return pictures, torch.cat(answers).float()

    @torch.no_grad()
    def _answer(self, key: tuple[int, bool, int], picture: Tensor) -> Tensor:
        if key in self.kept:
            return self.kept[key]
        laid_out = picture.contiguous(memory_format=torch.channels_last)
        answer = self.teacher(laid_out).to(torch.float16).contiguous()
        if self.bytes + answer.nbytes <= self.memory_limit:
            self.kept[key] = answer
            self.bytes += answer.nbytes
        return answer


def shrunk(pictures: Tensor, factor: int) -> Tensor:
    """Pictures (batch, 3, height, width) made smaller by a whole factor, each pixel a mean."""
    return F.avg_pool2d(pictures, factor) if factor > 1 else pictures
