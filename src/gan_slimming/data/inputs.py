"""Batches of inputs, images or noise, in the package's own form.

A batch is (images,) with RGB in [-1, 1], (latents,), or (latents, classes). `data.adapter` converts
it to a generator's convention.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

Inputs = tuple[Tensor, ...]
"""(images (batch, 3, height, width),), (latents (batch, latent_size),), or those latents with
classes (batch,) int64."""
Generate = Callable[..., Tensor]
"""A batch of inputs -> images (batch, 3, height, width), RGB in [-1, 1]."""


class InputSet(Protocol):
    """A numbered set of a generator's inputs."""

    def augmentations(
        self, downscale: int = 1, draws: int = 0, draws_per_answer: int | None = None
    ) -> int:
        """Return the number of augmentations of each input, at least 1.

        Args:
            downscale: as for `batch`.
            draws: number of inputs drawn in the whole run at this size.
            draws_per_answer: as in the settings.
        """
        ...

    def distinct(self, downscale: int, draws: int, draws_per_answer: int | None) -> int:
        """Return the number of inputs of which so many draws are made, at most len(self)."""
        ...

    def __len__(self) -> int:
        """Return the number of inputs."""
        ...

    def name(self, index: int) -> str:
        """Return what an input is called, for messages."""
        ...

    def expect(self, coming: Callable[[int], Tensor]) -> None:
        """Prepare for the next draws, where that saves time.

        Args:
            coming: a count -> the indices of so many draws, in order.
        """
        ...

    def batch(self, indices: Tensor, augmentations: Tensor, downscale: int = 1) -> Inputs:
        """Return a batch of inputs.

        Args:
            indices: (batch,) int64 below len(self).
            augmentations: (batch,) int64 below self.augmentations().
            downscale: integer factor by which images are downscaled.
        """
        ...


def item_of(inputs: InputSet, index: int) -> Inputs:
    """Return the parts of one item, without the batch axis."""
    place = torch.tensor([index])
    return tuple(x[0] for x in inputs.batch(place, torch.zeros_like(place)))


def downscaled(images: Tensor, factor: int) -> Tensor:
    """Downscale images (batch, 3, height, width) by an integer factor, by averaging."""
    return F.avg_pool2d(images, factor) if factor > 1 else images


def enlarged(images: Tensor, least: int) -> Tensor:
    """Enlarge images (batch, 3, height, width), bilinearly, to a short side of at least `least`."""
    side = min(images.shape[-2:])
    if side >= least:
        return images
    size = [round(length * least / side) for length in images.shape[-2:]]
    return F.interpolate(images, size, mode="bilinear", align_corners=False)
