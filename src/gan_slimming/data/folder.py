"""The training set: a folder of images, each decoded once, split into training and held-out sets.

Resize rule: the central square of the image (its whole short side) is resized to size x size with
Pillow's Lanczos filter and antialiasing. This is 'resize the short side, then crop the centre',
without rounding in between. With instance normalisation a generator's function depends on the
field of view, so images at full size are never cropped further. At half size there are pixels to
spare, so square crops are drawn, too. The fewer images for the steps, the more crops of each. Crops
are fixed, so that the teacher's outputs can be cached.
"""

from __future__ import annotations

import hashlib
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.data.image_files import (
    ImageError,
    decode_image,
    flatten,
    list_images,
    read_content,
)
from gan_slimming.data.inputs import downscaled
from gan_slimming.data.sampler import seeded
from gan_slimming.errors import UserError

SMALLEST_SIDE = 8
"""Least side in pixels of a usable image."""
HOLDOUT = 16
"""Default number of images held out of a folder; of small folders, a fifth."""
MIN_DISTINCT = {2: 100, 1: 25}
"""Downscale -> least number of images that a run draws from, if the folder has so many. An answer
at full size costs four times as much, and has four times the pixels."""
DRAWS_PER_CROP = 4
"""Average number of draws of each crop in a run of version 0.1."""


class ImageWarning(UserWarning):
    """A warning that images of a folder were skipped."""


@dataclass(frozen=True)
class ImageSet:
    """Square images of one size, decoded and in memory."""

    pixels: Tensor
    """(total, 3, size, size) uint8: storage shared by both sets of a split."""
    rows: Tensor
    """(count,) int64: the rows of `pixels` in this set."""
    paths: tuple[Path, ...]
    """(count,) the image files, sorted."""
    skipped: tuple[tuple[Path, str], ...] = ()
    """(path, reason) of every unusable file in the whole folder."""

    def __len__(self) -> int:
        return len(self.paths)

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
        if draws_per_answer is None:
            return len(self)
        return min(len(self), max(MIN_DISTINCT[downscale], draws // draws_per_answer))

    def images(self, indices: Tensor, augmentations: Tensor, downscale: int = 1) -> Tensor:
        """Return images (batch, 3, side, side), float32 RGB in [-1, 1], on the device of `pixels`.

        Args:
            indices: (batch,) int64 below len(self).
            augmentations: (batch,) int64; odd ones are mirrored. 0 and 1 are the whole image, each
                further pair is a square crop.
            downscale: factor; side = size / downscale. Crops need a factor of 2 or more.
        """
        device = self.pixels.device
        rows = self.rows[indices.cpu()]
        chosen = self.pixels[rows.to(device)].float() / 127.5 - 1.0
        unmirrored = downscaled(chosen, downscale)
        for k, (row, number) in enumerate(zip(rows.tolist(), augmentations.tolist(), strict=True)):
            if number > 1:
                unmirrored[k] = crop(chosen[k], row, number // 2, downscale)
        mirrored = (augmentations % 2 == 1).to(device).view(-1, 1, 1, 1)
        return torch.where(mirrored, unmirrored.flip(-1), unmirrored)

    def batch(self, indices: Tensor, augmentations: Tensor, downscale: int = 1) -> tuple[Tensor]:
        """Return `images` as a batch of `data.inputs`."""
        return (self.images(indices, augmentations, downscale),)


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


def open_folder(
    folder: str | Path,
    size: int,
    *,
    holdout: int | float | None,
    min_count: int = 2,
    workers: int = 2,
    memory_limit: int = 8 * 2**30,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Decode all images of a folder once, and split them into a training and a held-out set.

    Transparent pixels are laid over white. Unusable files are listed in `skipped`, with one
    ImageWarning.

    Args:
        size: height and width in pixels after the module's resize rule.
        holdout: a count (int) or a fraction in [0, 1) (float) of images; see split_holdout. None
            for HOLDOUT, or a fifth of the images where that is less.
        min_count: least number of usable images.
        workers: number of decoding threads.
        memory_limit: in bytes.
        progress: called with (done, total) after each file.

    Raises:
        UserError: no images, too few usable ones, more than memory_limit, or a wrong holdout.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"a folder of images was expected, got the file {folder}")
    if holdout is not None:
        _check_holdout(holdout)
    paths = list_images([folder])
    _check_memory(len(paths), size, memory_limit)
    pixels, digests, skipped = _decode_all(paths, size, workers, progress)
    bad = {path for path, _ in skipped}
    good = [path for path in paths if path not in bad]
    _check_usable(folder, len(good), max(2, min_count), skipped)
    names = [path.relative_to(folder).as_posix() for path in good]
    if holdout is None:
        holdout = min(HOLDOUT, max(1, len(good) // 5))
    held = split_holdout(names, digests, holdout)
    sides = ([row for row in range(len(good)) if (row in held) is side] for side in (False, True))
    train, kept = (
        ImageSet(pixels, torch.tensor(rows, dtype=torch.int64), _at(good, rows), tuple(skipped))
        for rows in sides
    )
    return train, kept


def split_holdout(names: Sequence[str], digests: Sequence[str], holdout: int | float) -> set[int]:
    """Return the positions of the images to hold out, chosen by a hash of each relative name.

    The choice depends on neither a seed nor the number of images. With a fraction, an added image
    moves no other; with a count, it can replace another. Files of equal content (equal digests)
    form a group, placed by its least hash, so that no held-out image is trained on. Groups that
    exceed the count are skipped. Both sides get at least one group, unless holdout is 0.
    """
    if holdout == 0:
        return set()
    members: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        members.setdefault(digest, []).append(position)
    groups = sorted((min(_name_hash(names[p]) for p in group), group) for group in members.values())
    if len(groups) < 2 or holdout >= len(names):
        came = f"{len(names)} images, {len(groups)} of them different"
        raise UserError(f"cannot hold out {holdout} of {came}; hold out fewer or add images")
    held: set[int] = set()
    for place, group in groups[:-1]:
        by_fraction = isinstance(holdout, float)
        if place < holdout if by_fraction else len(held) + len(group) <= holdout:
            held.update(group)
    return held or set(groups[0][1])


def _name_hash(name: str) -> float:
    """Hash a name to a number in [0, 1); Unicode is normalised, because systems differ in it."""
    text = unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape")
    # 6 bytes: exact in a double, and never rounded up to 1.
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48


def _decode_all(
    paths: Sequence[Path], size: int, workers: int, progress: Callable[[int, int], None] | None
) -> tuple[Tensor, list[str], list[tuple[Path, str]]]:
    """Return pixels (good, 3, size, size) uint8, digests of good files, and reasons of bad ones."""
    pixels = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    digests: list[str] = []
    skipped: list[tuple[Path, str]] = []

    def decode(path: Path) -> tuple[Tensor, str] | ImageError:
        try:
            return _read_square(path, size)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done, result in enumerate(pool.map(decode, paths), start=1):
            if isinstance(result, ImageError):
                skipped.append((result.path, result.reason))
            else:
                pixels[len(digests)] = result[0]
                digests.append(result[1])
            if progress is not None:
                progress(done, len(paths))
    return pixels[: len(digests)], digests, skipped


def _read_square(path: Path, size: int) -> tuple[Tensor, str]:
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
    return pixels, hashlib.sha256(content).hexdigest()


def _check_holdout(holdout: int | float) -> None:
    if isinstance(holdout, float) and not 0.0 <= holdout < 1.0:
        raise UserError(
            f"holdout as a fraction must be in [0, 1), got {holdout}; write 0.1 for 10 %"
        )
    if holdout < 0:
        raise UserError(f"holdout as a count must be 0 or more, got {holdout}")


def _check_memory(count: int, size: int, limit: int) -> None:
    if size < 1:
        raise UserError(f"size must be at least 1 pixel, got {size}")
    need = count * 3 * size * size
    if need > limit:
        came = f"{count} images at {size}x{size} need {need / 2**30:.1f} GiB of memory"
        fits = limit // (3 * size * size)
        raise UserError(
            f"{came}, the limit is {limit / 2**30:.1f} GiB; use a smaller size or {fits} images"
        )


def _check_usable(
    folder: Path, count: int, least: int, skipped: Sequence[tuple[Path, str]]
) -> None:
    first = f"the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else "none was skipped"
    summary = f"{len(skipped)} of {count + len(skipped)} files skipped, {first}"
    if count < least:
        raise UserError(
            f"{folder} holds {count} usable images, at least {least} are needed ({summary})"
        )
    if skipped:
        warnings.warn(f"{folder}: {summary}", ImageWarning, stacklevel=3)


def _at(paths: Sequence[Path], rows: Sequence[int]) -> tuple[Path, ...]:
    return tuple(paths[row] for row in rows)
