"""The teacher's pictures, made on the fly and kept as the teacher gave them, not as 8-bit files."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gan_slimming.data.feeds import Fed, Feed


class TeacherOutputs:
    """What the teacher is fed and its answers, each answer made once and kept as 16-bit floats.

    Answers are made one at a time, so that they do not depend on what shares a batch, and a resumed
    run sees the same ones.

    Args:
        teacher: a batch of one in the package's own form -> (1, 3, side, side) RGB in [-1, 1]; runs
            without gradient.
        memory_limit: bytes of answers to keep; beyond that they are made again.
    """

    def __init__(
        self,
        feed: Feed,
        teacher: Callable[..., Tensor],
        device: torch.device,
        memory_limit: int = 2 * 2**30,
    ):
        self.feed = feed
        self.teacher = teacher
        self.device = device
        self.memory_limit = memory_limit
        self.kept: dict[tuple[int, bool, int], Tensor] = {}
        self.bytes = 0

    def batch(self, indices: Tensor, flips: Tensor, shrink: int = 1) -> tuple[Fed, Tensor]:
        """(what the teacher is fed, its pictures (batch, 3, side, side) float32 RGB in [-1, 1]).

        Pictures are fed at size / shrink: whole, made smaller; the answers are to those.
        """
        fed = tuple(x.to(self.device) for x in self.feed.fed(indices, flips, shrink))
        answers = [
            self._answer((int(i), bool(f), shrink), tuple(x[k : k + 1] for x in fed))
            for k, (i, f) in enumerate(zip(indices, flips, strict=True))
        ]
        return fed, torch.cat(answers).float()

    @torch.no_grad()
    def _answer(self, key: tuple[int, bool, int], fed: Fed) -> Tensor:
        if key in self.kept:
            return self.kept[key]
        laid_out = (
            x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in fed
        )
        answer = self.teacher(*laid_out).to(torch.float16).contiguous()
        if self.bytes + answer.nbytes <= self.memory_limit:
            self.kept[key] = answer
            self.bytes += answer.nbytes
        return answer
