"""The teacher's answers, kept as it gave them, not as 8-bit files."""

from __future__ import annotations

import contextlib
import os
import secrets
import warnings
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import torch
from torch import Tensor

BLOCK = 64 * 2**20
"""Bytes that an arena asks for at once: more than malloc ever takes from the heap."""
ALIGNMENT = 64
"""Bytes; where a tensor begins in its arena."""
MEMORY_LIMIT = 2 * 2**30
"""Bytes of answers that are kept; beyond it they are made again."""
FALLOCATE = hasattr(os, "posix_fallocate")
Answer = list[Tensor]
"""The image (1, 3, side, side) RGB in [-1, 1], and features where they are compared."""


class Arena:
    """Tensors that stay, side by side in a few large blocks of memory.

    On their own, thousands of small tensors that stay would come to lie among the large ones that
    every step makes and frees; the heap could not give back what lies between them, and would grow
    by gigabytes.

    Args:
        folder: where blocks lie in files, which the system reads and writes as it has memory to
            spare; None keeps them in the memory of the tensors' device.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.blocks: list[Tensor] = []
        self._free = 0

    def put(self, values: Tensor) -> Tensor:
        """Return a contiguous copy that lies in the arena: on the CPU, if that is in files."""
        size = values.nbytes
        if not self.blocks or self._free + size > self.blocks[-1].numel():
            self.blocks.append(self._block(max(BLOCK, size), values.device))
            self._free = 0
        place = self.blocks[-1][self._free : self._free + size].view(values.dtype)
        self._free += -(-size // ALIGNMENT) * ALIGNMENT
        return place.view(values.shape).copy_(values)

    def _block(self, size: int, device: torch.device) -> Tensor:
        """Return bytes in memory, or in a new file without a name, which ends with the process."""
        if self.folder is None:
            return torch.empty(size, dtype=torch.uint8, device=device)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f".{secrets.token_hex(8)}"
        try:
            with file.open("wb") as raw:  # a mapped file that finds the disk full would crash
                os.posix_fallocate(raw.fileno(), 0, size) if FALLOCATE else raw.truncate(size)
            return torch.from_file(str(file), shared=True, size=size, dtype=torch.uint8)
        finally:
            with contextlib.suppress(OSError):  # Windows deletes no file in use
                file.unlink()


class TeacherCache:
    """Answers in 16-bit floats, one for each key, up to a limit of memory.

    Answers are made one at a time, so that they do not depend on what shares a batch, and a resumed
    run sees the same ones.

    Args:
        memory_limit: bytes.
        folder: for answers on disk; None keeps them in the memory of the teacher's device.
    """

    def __init__(self, memory_limit: int = MEMORY_LIMIT, folder: Path | None = None):
        self.memory_limit = memory_limit
        self.folder = folder
        self.device = torch.device("cpu")
        self.clear()

    def clear(self) -> None:
        """Drop all answers, when other ones are asked for from now on."""
        self.kept: dict[Hashable, Answer] = {}
        self.arena = Arena(self.folder)
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
            return [x.to(self.device) for x in self.kept[key]]
        image, *features = make(place)
        self.device = image.device
        # Numbers inside a network may be larger than float16 can hold.
        answer = [image.to(torch.float16), *(x.to(torch.bfloat16) for x in features)]
        size = sum(x.nbytes for x in answer)
        if self.bytes + size <= self.memory_limit:
            self._keep(key, answer, size)
        return answer

    def _keep(self, key: Hashable, answer: Answer, size: int) -> None:
        try:
            self.kept[key] = [self.arena.put(x) for x in answer]
        except OSError as error:
            self.memory_limit = self.bytes
            text = f"no more of the teacher's answers are kept: {self.folder}: {error.strerror}"
            warnings.warn(text, stacklevel=2)
            return
        self.bytes += size
