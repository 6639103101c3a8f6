"""Random crops of square images, half of them mirrored, as CycleGAN's training draws them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_slimming.data.folder import open_folder
from gan_slimming.data.sampler import Sampler
from gan_slimming.data.square_images import ImageSet
from gan_slimming.experiments.teachers.game import Random

MARGIN = 286 / 256
"""Side of an image over that of its crops (Zhu et al. 2017, as released)."""
SHOWN = 4
"""Sample images."""


class RandomCrops:
    """An endless order of crops of a set of images; the same seed gives the same crops.

    Args:
        images: square, in memory.
        size: side of the crops in pixels, at most that of the images.
        batch_size: crops at a time.
        seed: of order and places.
        name: tells this order from others of the seed.
    """

    def __init__(self, images: ImageSet, size: int, batch_size: int, seed: int, name: str) -> None:
        self.images, self.size = images, size
        self.sampler = Sampler(len(images), batch_size, seed)
        self.random = Random(f"{seed}:crops:{name}")

    def next(self) -> Tensor:
        """Return crops (batch_size, 3, size, size) in [-1, 1], on the CPU."""
        indices, _ = self.sampler.next()
        squares = self.images.squares(indices)
        room = squares.shape[-1] - self.size + 1
        places = self.random.whole(room, 2 * len(squares)).view(-1, 2).tolist()
        mirrored = self.random.whole(2, len(squares)).tolist()
        made = []
        for image, (top, left), mirror in zip(squares, places, mirrored, strict=True):
            crop = image[:, top : top + self.size, left : left + self.size]
            made.append(crop.flip(-1) if mirror else crop)
        return torch.stack(made).float() / 127.5 - 1

    def shown(self) -> Tensor:
        """Return the middles of up to four images, likewise, the same every time."""
        squares = self.images.squares(torch.arange(min(SHOWN, len(self.images))))
        start = (squares.shape[-1] - self.size) // 2
        middle = squares[..., start : start + self.size, start : start + self.size]
        return middle.float() / 127.5 - 1

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next crops depend on."""
        return {"sampler": self.sampler.state_dict(), "random": self.random.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.sampler.load_state_dict(state["sampler"])
        self.random.load_state_dict(state["random"])


def open_crops(folder: str | Path, size: int, batch_size: int, seed: int, name: str) -> RandomCrops:
    """Open a folder whose images all fit in memory.

    Args:
        size: side of the crops in pixels; images are read at 286/256 of it.
        batch_size, seed, name: as for RandomCrops.
    Raises:
        UserError: no usable images, or too many for the memory.
    """
    images, _ = open_folder(folder, round(size * MARGIN), holdout=0)
    return RandomCrops(images, size, batch_size, seed, name)
