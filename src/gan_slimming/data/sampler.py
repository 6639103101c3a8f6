"""The fixed order in which a set is drawn, and random numbers that follow from a name."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from gan_slimming.config import UserError


class Sampler:
    """An endless, resumable order of a set: a new random permutation per epoch.

    In every epoch each thing is seen in one of its views, drawn anew, each as likely as the others.
    Batches are always full: they run on across the end of an epoch, and of a set smaller than a
    batch as well. The order depends on (count, seed) alone, so the whole state is how many have
    been drawn.
    """

    def __init__(self, count: int, batch_size: int, seed: int, distinct: int | None = None) -> None:
        """`distinct`: so many of the set are ever drawn, chosen by the seed; None for all."""
        if count < 1:
            raise UserError("the set of pictures to draw from is empty; add pictures")
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        self.count = count
        self.distinct = count if distinct is None else max(1, min(distinct, count))
        self.batch_size = batch_size
        self.seed = seed
        self.drawn = 0
        self._epoch: int | None = None
        self._order = torch.empty(0, dtype=torch.int64)
        self._chances = torch.empty(0)

    @property
    def epoch(self) -> int:
        """How many times the set has been gone through, from 0."""
        return self.drawn // self.distinct

    def next(self, views: int = 1) -> tuple[Tensor, Tensor]:
        """The next batch: indices and views, both (batch_size,) int64, the latter below `views`."""
        indices: list[Tensor] = []
        chances: list[Tensor] = []
        missing = self.batch_size
        while missing > 0:
            self._shuffle()
            start = self.drawn % self.distinct
            stop = min(start + missing, self.distinct)
            indices.append(self._order[start:stop])
            chances.append(self._chances[start:stop])
            self.drawn += stop - start
            missing -= stop - start
        return torch.cat(indices), (torch.cat(chances) * views).long()

    def state_dict(self) -> dict[str, int]:
        """Plain integers from which load_state_dict goes on, bit for bit."""
        return {"count": self.count, "seed": self.seed, "drawn": self.drawn}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken. Raises UserError where the set has another size now."""
        if state["count"] != self.count:
            came = f"the run was started with {state['count']} pictures, now there are {self.count}"
            raise UserError(f"{came}; restore the folder, or start a new run")
        self.seed = state["seed"]
        self.drawn = state["drawn"]
        self._epoch = None

    def _shuffle(self) -> None:
        if self._epoch == self.epoch:
            return
        self._epoch = self.epoch
        # Hashed, lest seed 0 in epoch 1 be seed 1 in epoch 0.
        generator = seeded(f"{self.seed}:{self._epoch}")
        self._order = torch.randperm(self.distinct, generator=generator)
        if self.distinct < self.count:
            chosen = torch.randperm(self.count, generator=seeded(f"{self.seed}:distinct"))
            self._order = chosen[self._order]
        # In double precision: times the number of views it stays below that number.
        self._chances = torch.rand(self.distinct, generator=generator, dtype=torch.float64)


def seeded(name: str) -> torch.Generator:
    """Random numbers that depend on the name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
