"""Square images of one size, in memory or read from their files, as a set that training draws from.

Resize rule: the central square of the image (its whole short side) is resized to size x size with
Pillow's Lanczos filter and antialiasing. This is 'resize the short side, then crop the centre',
without rounding in between. With instance normalisation a generator's function depends on the
field of view, so images at full size are never cropped further. At half size there are pixels to
spare, so square crops are drawn, too. The fewer images for the steps, the more crops of each. Crops
are fixed, so that the teacher's outputs can be cached.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.data.image_files import ImageError, decode_image, flatten, read_content
from gan_slimming.data.inputs import downscaled
from gan_slimming.data.sampler import seeded

SMALLEST_SIDE = 8
"""Least side in pixels of a usable image."""
MIN_DISTINCT = {2: 100, 1: 25}
"""Downscale -> least number of images that a run draws from, if the folder has so many. An answer
at full size costs four times as much, and has four times the pixels."""
DRAWS_PER_CROP = 4
"""Average number of draws of each crop in a run of version 0.1."""


class ImageWarning(UserWarning):
    """A warning that images of a folder were skipped."""


class SquareImages(ABC):
    """Square images of one size, numbered from 0, each with its augmentations."""

    rows: Tensor
    """(count,) int64: the number of each image in its whole folder, which seeds its crops."""
    paths: tuple[Path, ...]
    """(count,) the image files, sorted."""

    @abstractmethod
    def squares(self, indices: Tensor) -> Tensor:
        """Return images (batch, 3, size, size), uint8 RGB on the CPU, of indices (batch,) int64."""

    @abstractmethod
    def expect(self, coming: Callable[[int], Tensor]) -> None:
        """Prepare for the next draws, where that saves time.

        Args:
            coming: a count -> the indices of so many draws, in order.
        """

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Return what an image is called."""
        return f"image {self.paths[index]}"

    def augmentations(
        self, downscale: int = 1, draws: int = 0, draws_per_answer: int | None = None
    ) -> int:
        """Return the number of augmentations: whole, mirrored, and crops if downscaled.

        As few as `draws` need: another image shows more than a mirrored one. `draws_per_answer` of
        None is version 0.1, which always mirrors.
        """
        count = max(1, len(self))
        if draws_per_answer is None:
            return 2 * max(1, round(draws / (2 * DRAWS_PER_CROP * count))) if downscale > 1 else 2
        needed = max(1, round(draws / (draws_per_answer * count)))
        return needed if downscale > 1 else min(2, needed)

    def distinct(self, downscale: int, draws: int, draws_per_answer: int | None) -> int:
        """Return the number of images of which so many draws are made; None takes all.

        A teacher's answer costs more than the student's step, so each serves several times.
        """
        return distinct_images(len(self), downscale, draws, draws_per_answer)

    def images(self, indices: Tensor, augmentations: Tensor, downscale: int = 1) -> Tensor:
        """Return images (batch, 3, side, side), float32 RGB in [-1, 1], on the CPU.

        Args:
            indices: (batch,) int64 below len(self).
            augmentations: (batch,) int64; odd ones are mirrored. 0 and 1 are the whole image, each
                further pair is a square crop.
            downscale: factor; side = size / downscale. Crops need a factor of 2 or more.
        """
        rows = self.rows[indices].tolist()
        chosen = self.squares(indices).float() / 127.5 - 1.0
        unmirrored = downscaled(chosen, downscale)
        for k, (row, number) in enumerate(zip(rows, augmentations.tolist(), strict=True)):
            if number > 1:
                unmirrored[k] = crop(chosen[k], row, number // 2, downscale)
        mirrored = (augmentations % 2 == 1).view(-1, 1, 1, 1)
        return torch.where(mirrored, unmirrored.flip(-1), unmirrored)

    def batch(self, indices: Tensor, augmentations: Tensor, downscale: int = 1) -> tuple[Tensor]:
        """Return `images` as a batch of `data.inputs`."""
        return (self.images(indices, augmentations, downscale),)


@dataclass(frozen=True)
class ImageSet(SquareImages):
    """Square images that are all in memory."""

    pixels: Tensor
    """(total, 3, size, size) uint8: storage shared by both sets of a split."""
    rows: Tensor
    """(count,) int64: the rows of `pixels` in this set."""
    paths: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...] = ()
    """(path, reason) of every unusable file in the whole folder."""

    def squares(self, indices: Tensor) -> Tensor:
        """Return images (batch, 3, size, size), uint8 RGB, of indices (batch,) int64."""
        return self.pixels[self.rows[indices]]

    def expect(self, coming: Callable[[int], Tensor]) -> None:
        """Do nothing: all images are at hand."""


def distinct_images(count: int, downscale: int, draws: int, draws_per_answer: int | None) -> int:
    """Return of how many of `count` images so many draws are made; see `SquareImages.distinct`."""
    if draws_per_answer is None:
        return count
    return min(count, max(MIN_DISTINCT[downscale], draws // draws_per_answer))


def crop(image: Tensor, row: int, number: int, downscale: int) -> Tensor:
    """Return a square crop of an image (3, size, size), resized to size / downscale (antialias).

    The crop is never smaller than the result, so nothing is enlarged. (row, number) determine it.
    """
    size = image.shape[-1]
    side = size // downscale
    width, left, top = torch.rand(3, generator=seeded(f"{row}:{number}")).tolist()
    wide = side + round(width * (size - side))
    x, y = round(left * (size - wide)), round(top * (size - wide))
    cropped = image[..., y : y + wide, x : x + wide]
    return F.interpolate(cropped[None], (side, side), mode="bilinear", antialias=True)[0]


def read_square(path: Path, size: int) -> tuple[Tensor, str]:
    """Return (3, size, size) uint8 by the module's resize rule, and a digest of the file."""
    content = read_content(path)
    image = flatten(decode_image(path, content))
    width, height = image.size
    side = min(width, height)
    if side < SMALLEST_SIDE:
        least = f"at least {SMALLEST_SIDE}x{SMALLEST_SIDE}"
        raise ImageError(path, f"it has {width}x{height} pixels, {least} are needed")
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    square = image.resize((size, size), Image.Resampling.LANCZOS, box=box)
    pixels = torch.from_numpy(np.array(square)).permute(2, 0, 1)
    return pixels, digest_of(content)


def digest_of(content: bytes) -> str:
    """Return a text that only files of equal content share."""
    return hashlib.sha256(content).hexdigest()


def bytes_of(count: int, size: int) -> int:
    """Return the memory in bytes of square images."""
    return count * 3 * size * size
