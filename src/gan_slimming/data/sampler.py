"""The order of draws from a set, and random generators seeded by a name."""

from __future__ import annotations

import copy
import hashlib

import torch
from torch import Tensor

from gan_slimming.errors import UserError


class Sampler:
    """An endless, resumable order of a set: a new random permutation per epoch.

    Each epoch draws each item once, in a random augmentation, all equally likely. Batches are
    always full: they continue across the end of an epoch, even for a set smaller than a batch. The
    order depends on (count, seed) alone, so the number of draws is the whole state.
    """

    def __init__(self, count: int, batch_size: int, seed: int, distinct: int | None = None) -> None:
        """Start an order; only `distinct` of the set are drawn, chosen by the seed, or all."""
        if count < 1:
            raise UserError("the set of images to draw from is empty; add images")
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
        """Return the number of completed passes over the set."""
        return self.drawn // self.distinct

    def next(self, augmentations: int = 1) -> tuple[Tensor, Tensor]:
        """Return the next batch: indices and augmentations, both (batch_size,) int64.

        Args:
            augmentations: number of augmentations of each item.
        """
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
        return torch.cat(indices), (torch.cat(chances) * augmentations).long()

    def coming(self, count: int) -> Tensor:
        """Return the indices (count,) int64 of the next draws, without drawing them."""
        ahead = copy.copy(self)
        ahead.batch_size = count
        return ahead.next()[0]

    def restrict(self, distinct: int) -> None:
        """Draw only `distinct` of the set from here on, in a new order."""
        self.distinct = max(1, min(distinct, self.count))
        self.drawn, self._epoch = 0, None

    def state_dict(self) -> dict[str, int]:
        """Return plain integers from which load_state_dict continues, bit for bit."""
        return {
            "count": self.count,
            "distinct": self.distinct,
            "seed": self.seed,
            "drawn": self.drawn,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from `state`; raise UserError if the set has another size now."""
        if state["count"] != self.count:
            came = f"the run was started with {state['count']} images, now there are {self.count}"
            raise UserError(f"{came}; restore the folder, or start a new run")
        self.distinct = state.get("distinct", self.count)  # all, in version 0.1
        self.seed = state["seed"]
        self.drawn = state["drawn"]
        self._epoch = None

    def _shuffle(self) -> None:
        if self._epoch == self.epoch:
            return
        self._epoch = self.epoch
        # Hashed, so that seed 0 in epoch 1 differs from seed 1 in epoch 0.
        generator = seeded(f"{self.seed}:{self._epoch}")
        self._order = torch.randperm(self.distinct, generator=generator)
        if self.distinct < self.count:
            chosen = torch.randperm(self.count, generator=seeded(f"{self.seed}:distinct"))
            self._order = chosen[self._order]
        # In double precision, the product with the number of augmentations stays below it.
        self._chances = torch.rand(self.distinct, generator=generator, dtype=torch.float64)


def seeded(name: str) -> torch.Generator:
    """Return a random generator whose seed depends on the name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
