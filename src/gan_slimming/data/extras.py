"""Further inputs of a generator beside its image: labels, vectors, masks, reference images.

They come from the columns of a table. Where the user has none, they are drawn: each follows from
the number of its image alone, so that teacher and student get the same ones, and a resumed run as
well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_slimming.config import ExtraInput
from gan_slimming.data.inputs import Inputs, InputSet
from gan_slimming.data.table import Column


@dataclass(frozen=True)
class WithExtras:
    """A set of images, signals or noise, each with the further inputs of its generator."""

    images: InputSet
    extras: tuple[ExtraInput, ...]
    seed: int = 0
    columns: tuple[Column, ...] = ()
    """One for each further input; () draws them."""

    def __len__(self) -> int:
        return len(self.images)

    def __getattr__(self, name: str) -> Any:
        if name == "images":  # before it is set, as while copying
            raise AttributeError(name)
        return getattr(self.images, name)

    def augmentations(
        self, downscale: int = 1, draws: int = 0, draws_per_answer: int | None = None
    ) -> int:
        """Return the number of augmentations of each image."""
        return self.images.augmentations(downscale, draws, draws_per_answer)

    def distinct(self, downscale: int, draws: int, draws_per_answer: int | None) -> int:
        """Return the number of images of which so many draws are made."""
        return self.images.distinct(downscale, draws, draws_per_answer)

    def name(self, index: int) -> str:
        """Return what an image is called."""
        return self.images.name(index)

    def expect(self, coming: Callable[[int], Tensor]) -> None:
        """Let images be read ahead."""
        self.images.expect(coming)

    def batch(self, indices: Tensor, augmentations: Tensor, downscale: int = 1) -> Inputs:
        """Return what the set has, such as images, and the further inputs of each."""
        images, *others = self.images.batch(indices, augmentations, downscale)
        if self.columns:
            return (images, *(read(indices, augmentations, downscale) for read in self.columns))
        for number, extra in enumerate(self.extras):
            if extra.kind == "image":
                other = (indices + 1 + number) % len(self.images)
                others.append(self.images.batch(other, augmentations, downscale)[0])
                continue
            rows = [
                _drawn(extra, (self.seed * 1_000_003 + index) * 8 + number, images.shape[-2:])
                for index in indices.tolist()
            ]
            others.append(torch.stack(rows))
        return (images, *others)


def with_extras(
    images: InputSet,
    extras: tuple[ExtraInput, ...],
    seed: int,
    columns: tuple[Column, ...] = (),
) -> InputSet:
    """Return the set, with further inputs where the generator takes any."""
    return WithExtras(images, extras, seed, columns) if extras else images


def _drawn(extra: ExtraInput, seed: int, sides: torch.Size) -> Tensor:
    """Draw one input: a class, a label of zeros and ones, noise, or a mask with a hole of ones.

    Args:
        sides: the last two lengths of what it stands beside.
    """
    random = torch.Generator().manual_seed(seed % 2**63)
    if extra.kind == "class":
        return torch.randint(extra.size, (), generator=random)
    if extra.kind == "label":
        return torch.randint(2, (extra.size,), generator=random).float()
    if extra.kind == "vector":
        return torch.randn(extra.size, generator=random)
    if extra.kind == "noise":
        return torch.randn(extra.size, sides[-1], generator=random)
    height, width = sides
    top, left = (int(torch.randint(side // 2, (), generator=random)) for side in sides)
    mask = torch.zeros(extra.size, height, width)
    mask[:, top : top + height // 2, left : left + width // 2] = 1.0
    return mask
