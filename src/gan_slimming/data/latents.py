"""Noise for generators that take it: every vector, and its class, follows from its number alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_slimming.config import InputContract, UserError
from gan_slimming.data.inputs import Fed

TRAIN, HELD, SAMPLE = 0, 1, 2
"""Streams: none shares a vector with another, whatever the seed."""


@dataclass(frozen=True)
class LatentSet:
    """Noise vectors of a normal distribution, and a class each where the generator takes one.

    The vector under an index depends on (seed, stream, index) alone: not on the batch, the order,
    nor the device. Nothing is kept, so that a set may be as large as one likes.
    """

    count: int
    """Vectors in the set."""
    latent_size: int
    """Numbers in a vector."""
    classes: int = 0
    """Classes of the generator, drawn uniformly; 0 where it takes none."""
    seed: int = 0
    stream: int = TRAIN
    """TRAIN, HELD or SAMPLE."""
    truncation: float = 1.0
    """Standard deviation of the noise: 1 as the generator was trained, less for pictures that are
    more typical and less varied."""
    chosen: tuple[int, ...] = ()
    """Classes that are taken in turn instead of drawn."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"the number of noise vectors must be at least 1, got {self.count}")
        if not self.truncation >= 0:
            raise UserError(f"truncation must be 0 or more, got {self.truncation}; 1 for none")
        if self.chosen and not self.classes:
            raise UserError("classes were asked for, but the generator takes none; leave them out")
        if wrong := [c for c in self.chosen if not 0 <= c < self.classes]:
            raise UserError(f"classes must be 0 to {self.classes - 1}, got {wrong[0]}")

    def views(self, shrink: int = 1, draws: int = 0) -> int:
        """Noise is fed as it is."""
        return 1

    def distinct(self, draws: int) -> int:
        """Return how many vectors a run of so many draws takes: all, as noise costs little."""
        return self.count

    def __len__(self) -> int:
        return self.count

    def fed(self, indices: Tensor, views: Tensor | None = None, shrink: int = 1) -> Fed:
        """(latents (batch, latent_size) float32,), with classes (batch,) int64 where there are any.

        indices: (batch,) int64. Views and shrink, which are for pictures, change nothing.
        """
        drawn = [self._draw(int(index)) for index in indices]
        latents = torch.from_numpy(np.stack([latent for latent, _ in drawn]))
        if not self.classes:
            return (latents,)
        return latents, torch.tensor([label for _, label in drawn], dtype=torch.int64)

    def _draw(self, index: int) -> tuple[np.ndarray, int]:
        key = (self.seed % 2**64, self.stream, index)
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))
        latent = random.standard_normal(self.latent_size, dtype=np.float32)
        label = int(random.integers(self.classes)) if self.classes else 0
        if self.chosen:
            label = self.chosen[index % len(self.chosen)]
        return latent * np.float32(self.truncation), label


def latents_for(contract: InputContract, count: int, seed: int, stream: int) -> LatentSet:
    """A set of noise for a generator that takes noise."""
    return LatentSet(count, contract.latent_size, contract.classes, seed, stream)
