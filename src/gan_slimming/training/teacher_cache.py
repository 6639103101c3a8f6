"""The teacher's answers, made on the fly and kept as the teacher gave them, not as 8-bit files."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gan_slimming.data.inputs import Fed, Feed

BLOCK = 64 * 2**20
"""Bytes that a shelf asks for at once: more than malloc ever takes from the heap."""
ALIGNMENT = 64
"""Bytes; where a tensor begins on its shelf."""
Answer = list[Tensor]
"""The picture (1, 3, side, side) RGB in [-1, 1], and whatever else is asked of the teacher."""


class Shelf:
    """Tensors that stay, side by side in a few large blocks of memory.

    On their own, thousands of small tensors that stay would come to lie among the large ones that
    every step makes and frees; the heap could not give back what lies between them, and would grow
    by gigabytes.
    """

    def __init__(self) -> None:
        self.blocks: list[Tensor] = []
        self._free = 0

    def put(self, values: Tensor) -> Tensor:
        """A contiguous copy that lies on the shelf."""
        size = values.nbytes
        if not self.blocks or self._free + size > self.blocks[-1].numel():
            block = torch.empty(max(BLOCK, size), dtype=torch.uint8, device=values.device)
            self.blocks.append(block)
            self._free = 0
        place = self.blocks[-1][self._free : self._free + size].view(values.dtype)
        self._free += -(-size // ALIGNMENT) * ALIGNMENT
        return place.view(values.shape).copy_(values)


class TeacherOutputs:
    """What the teacher is fed and its answers, each made once and kept in 16-bit floats.

    Answers are made one at a time, so that they do not depend on what shares a batch, and a resumed
    run sees the same ones. Those of one size are kept: a run goes from half the size to the whole
    and does not come back, and the ones that it leaves behind would take the others' room.

    Args:
        teacher: the key of what is fed, and a batch of one in the package's own form -> its
            answer; runs without gradient.
        memory_limit: bytes of answers to keep; beyond that they are made again.
    """

    def __init__(
        self,
        feed: Feed,
        teacher: Callable[..., Answer],
        device: torch.device,
        memory_limit: int = 2 * 2**30,
    ):
        self.feed = feed
        self.teacher = teacher
        self.device = device
        self.memory_limit = memory_limit
        self.shrink = 1
        self.forget()

    def forget(self) -> None:
        """Make all answers anew, as when other ones are asked for."""
        self.kept: dict[int, Answer] = {}
        self.shelf = Shelf()
        self.bytes = 0

    def batch(
        self, indices: Tensor, views: Tensor, shrink: int = 1
    ) -> tuple[Fed, list[int], Answer]:
        """(what the teacher is fed, a key for each, its answers in float32, joined to a batch).

        Pictures are fed at size / shrink, whole or in part; the answers are to those.
        """
        if shrink != self.shrink:
            self.forget()
            self.shrink = shrink
        fed = tuple(_laid_out(x.to(self.device)) for x in self.feed.fed(indices, views, shrink))
        pairs = zip(indices.tolist(), views.tolist(), strict=True)
        keys = [(view * len(self.feed) + index) * 2 + (shrink > 1) for index, view in pairs]
        answers = [
            self._answer(key, tuple(x[k : k + 1] for x in fed)) for k, key in enumerate(keys)
        ]
        return fed, keys, [torch.cat(parts).float() for parts in zip(*answers, strict=True)]

    @torch.no_grad()
    def _answer(self, key: int, fed: Fed) -> Answer:
        if key in self.kept:
            return self.kept[key]
        picture, *rest = self.teacher(key, *fed)
        # Numbers inside a network may be larger than float16 can hold.
        answer = [picture.to(torch.float16), *(x.to(torch.bfloat16) for x in rest)]
        size = sum(x.nbytes for x in answer)
        if self.bytes + size <= self.memory_limit:
            self.kept[key] = answer = [self.shelf.put(x) for x in answer]
            self.bytes += size
        return answer


def _laid_out(values: Tensor) -> Tensor:
    """Images with channels last: convolutions, narrow ones above all, are faster so."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
