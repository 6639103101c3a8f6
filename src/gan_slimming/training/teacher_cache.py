"""The teacher's answers, kept as it gave them, not as 8-bit files."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

BLOCK = 64 * 2**20
"""Bytes that an arena asks for at once: more than malloc ever takes from the heap."""
ALIGNMENT = 64
"""Bytes; where a tensor begins in its arena."""
MEMORY_LIMIT = 2 * 2**30
"""Bytes of answers that are kept; beyond it they are made again."""
Answer = list[Tensor]
"""The image (1, 3, side, side) RGB in [-1, 1], and features where they are compared."""


class Arena:
    """Tensors that stay, side by side in a few large blocks of memory.

    On their own, thousands of small tensors that stay would come to lie among the large ones that
    every step makes and frees; the heap could not give back what lies between them, and would grow
    by gigabytes.
    """

    def __init__(self) -> None:
        self.blocks: list[Tensor] = []
        self._free = 0

    def put(self, values: Tensor) -> Tensor:
        """Return a contiguous copy that lies in the arena."""
        size = values.nbytes
        if not self.blocks or self._free + size > self.blocks[-1].numel():
            block = torch.empty(max(BLOCK, size), dtype=torch.uint8, device=values.device)
            self.blocks.append(block)
            self._free = 0
        place = self.blocks[-1][self._free : self._free + size].view(values.dtype)
        self._free += -(-size // ALIGNMENT) * ALIGNMENT
        return place.view(values.shape).copy_(values)


class TeacherCache:
    """Answers in 16-bit floats, one for each key, up to a limit of memory.

    Answers are made one at a time, so that they do not depend on what shares a batch, and a resumed
    run sees the same ones.

    Args:
        memory_limit: bytes.
    """

    def __init__(self, memory_limit: int = MEMORY_LIMIT):
        self.memory_limit = memory_limit
        self.clear()

    def clear(self) -> None:
        """Drop all answers, when other ones are asked for from now on."""
        self.kept: dict[Hashable, Answer] = {}
        self.arena = Arena()
        self.bytes = 0

    def answers(self, keys: Sequence[Hashable], make: Callable[[int], Answer]) -> Answer:
        """Return the answers to a batch in float32, joined along the batch.

        Args:
            keys: one for each input of the batch.
            make: place in the batch -> the answer to that input alone.
        """
        found = [self._answer(key, make, place) for place, key in enumerate(keys)]
        return [torch.cat(values).float() for values in zip(*found, strict=True)]

    def _answer(self, key: Hashable, make: Callable[[int], Answer], place: int) -> Answer:
        if key in self.kept:
            return self.kept[key]
        image, *features = make(place)
        # Numbers inside a network may be larger than float16 can hold.
        answer = [image.to(torch.float16), *(x.to(torch.bfloat16) for x in features)]
        size = sum(x.nbytes for x in answer)
        if self.bytes + size <= self.memory_limit:
            self.kept[key] = answer = [self.arena.put(x) for x in answer]
            self.bytes += size
        return answer
