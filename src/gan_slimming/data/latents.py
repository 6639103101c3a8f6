"""Noise for generators: each vector, and its class, follows from its index alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gan_slimming.config import InputContract
from gan_slimming.data.extras import with_extras
from gan_slimming.data.inputs import Inputs, InputSet
from gan_slimming.errors import UserError

TRAIN, HELD, SAMPLE = 0, 1, 2
"""Streams of noise, which share no vectors, whatever the seed."""


@dataclass(frozen=True)
class LatentSet:
    """Normally distributed noise vectors, each with a class if the generator takes one.

    A vector depends on (seed, stream, index) alone, not on the batch, the order or the device.
    Vectors are not stored, so a set may be of any size.
    """

    count: int
    """Number of vectors."""
    latent_size: int
    """Length of a vector."""
    classes: int = 0
    """Number of classes, drawn uniformly; 0 without classes."""
    seed: int = 0
    stream: int = TRAIN
    """TRAIN, HELD or SAMPLE."""
    truncation: float = 1.0
    """Standard deviation of the noise: 1 as in training, less for more typical, less varied
    images."""
    chosen: tuple[int, ...] = ()
    """Classes to take in turn instead of drawing them."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"the number of noise vectors must be at least 1, got {self.count}")
        if not self.truncation >= 0:
            raise UserError(f"truncation must be 0 or more, got {self.truncation}; 1 for none")
        if self.chosen and not self.classes:
            raise UserError("classes were asked for, but the generator takes none; leave them out")
        if wrong := [c for c in self.chosen if not 0 <= c < self.classes]:
            raise UserError(f"classes must be 0 to {self.classes - 1}, got {wrong[0]}")

    def augmentations(
        self, downscale: int = 1, draws: int = 0, draws_per_answer: int | None = None
    ) -> int:
        """Return 1: noise is not augmented."""
        return 1

    def distinct(self, downscale: int, draws: int, draws_per_answer: int | None) -> int:
        """Return how many vectors a run of so many draws takes: all, as noise costs little."""
        return self.count

    def name(self, index: int) -> str:
        """Return what a vector is called."""
        return f"noise {index}"

    def expect(self, coming: Callable[[int], Tensor]) -> None:
        """Do nothing: noise is made at once."""

    def __len__(self) -> int:
        return self.count

    def batch(
        self, indices: Tensor, augmentations: Tensor | None = None, downscale: int = 1
    ) -> Inputs:
        """Return latents (batch, latent_size) float32, and classes (batch,) int64 if there are any.

        Args:
            indices: (batch,) int64.
            augmentations, downscale: for images alone; ignored here.
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


def latents_for(
    contract: InputContract,
    count: int,
    seed: int,
    stream: int,
    truncation: float = 1.0,
    chosen: tuple[int, ...] = (),
) -> InputSet:
    """Return a set of noise for a generator of noise, with the further inputs that it takes."""
    size, classes = contract.latent_size, contract.classes
    latents = LatentSet(count, size, classes, seed, stream, truncation, chosen)
    return with_extras(latents, contract.extras, seed)
