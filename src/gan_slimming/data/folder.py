"""The training set: a folder of pictures, each decoded once, split in two.

Resize rule: the central square of the picture (its whole short side) is resized to size x size
with Pillow's Lanczos filter, which widens as it shrinks (antialias). This is 'resize the short
side, then crop the centre', without rounding in between. With InstanceNorm a generator's function
depends on the field of view, so at full size pictures are never cut smaller than that. At half the
size parts of a picture are drawn as well, since there are pixels to spare: the fewer pictures for
the steps, the more parts of each, which stay the same, so that the teacher's answers can be kept.
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

from gan_slimming.config import UserError
from gan_slimming.data.image_files import (
    PictureError,
    decode_picture,
    flatten,
    list_pictures,
    read_content,
)
from gan_slimming.data.inputs import shrunk
from gan_slimming.data.sampler import seeded

SMALLEST_SIDE = 8
"""Pictures with a side shorter than this many pixels count as bad."""
HOLDOUT = 16
"""So many pictures are held out of a folder, where nothing else is asked for and it has enough."""
LEAST_DISTINCT = 200
"""Fewer images than this are never drawn from, however short the run, where there are so many."""
AGAIN = 4
"""So often each view of a picture is drawn, on average, before there is another part of it."""


class PictureWarning(UserWarning):
    """Pictures of a folder were skipped."""


@dataclass(frozen=True)
class PictureSet:
    """Square pictures of one size, decoded, in memory."""

    pixels: Tensor
    """(total, 3, size, size) uint8: the storage, shared by both sides of a split."""
    rows: Tensor
    """(count,) int64: which rows of `pixels` belong to this set."""
    paths: tuple[Path, ...]
    """(count,) the files that the pictures came from, sorted."""
    skipped: tuple[tuple[Path, str], ...] = ()
    """(path, reason) of every file of the whole folder that could not be used."""

    def __len__(self) -> int:
        return len(self.paths)

    def views(self, shrink: int = 1, draws: int = 0) -> int:
        """How many views of a picture there are: whole or mirrored, and parts where it shrinks."""
        if shrink == 1:
            return 2
        return 2 * max(1, round(draws / (2 * AGAIN * max(1, len(self)))))

    def distinct(self, draws: int) -> int:
        """Return how many images a run of so many draws takes: each is drawn AGAIN times at least.

        A teacher's answer costs more than the student's step, so that it must serve more than once.
        """
        return min(len(self), max(LEAST_DISTINCT, draws // (2 * AGAIN)))

    def batch(self, indices: Tensor, views: Tensor, shrink: int = 1) -> Tensor:
        """Pictures as (batch, 3, side, side) float32 RGB in [-1, 1], on the device of `pixels`.

        indices: (batch,) int64 below len(self). views: (batch,) int64: odd ones are mirrored; 0 and
        1 are the whole picture, each further pair is a square part of it. shrink: side is
        size / shrink; there are parts from 2 on.
        """
        device = self.pixels.device
        rows = self.rows[indices.cpu()]
        chosen = self.pixels[rows.to(device)].float() / 127.5 - 1.0
        straight = shrunk(chosen, shrink)
        for k, (row, view) in enumerate(zip(rows.tolist(), views.tolist(), strict=True)):
            if view > 1:
                straight[k] = part(chosen[k], row, view // 2, shrink)
        mirrored = (views % 2 == 1).to(device).view(-1, 1, 1, 1)
        return torch.where(mirrored, straight.flip(-1), straight)

    def fed(self, indices: Tensor, views: Tensor, shrink: int = 1) -> tuple[Tensor]:
        """A batch of pictures as a generator's feed (data.feeds), made smaller by `shrink`."""
        return (self.batch(indices, views, shrink),)


def part(picture: Tensor, row: int, number: int, shrink: int) -> Tensor:
    """A square part of a picture (3, size, size), made size / shrink pixels wide (antialias).

    It is at least so wide itself: parts are never enlarged. (row, number) decide which it is.
    """
    size = picture.shape[-1]
    side = size // shrink
    width, left, top = torch.rand(3, generator=seeded(f"{row}:{number}")).tolist()
    wide = side + round(width * (size - side))
    x, y = round(left * (size - wide)), round(top * (size - wide))
    cut = picture[..., y : y + wide, x : x + wide]
    return F.interpolate(cut[None], (side, side), mode="bilinear", antialias=True)[0]


def open_folder(
    folder: str | Path,
    size: int,
    *,
    holdout: int | float | None,
    min_count: int = 2,
    workers: int = 2,
    memory_limit: int = 8 * 2**30,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[PictureSet, PictureSet]:
    """Decode all pictures of a folder once, and split them into a training and a held out set.

    size: pixels per side; see the module's resize rule. Transparent pixels are laid over white.
    holdout: a count (int) or a fraction in [0, 1) (float) of pictures; see split_holdout. None for
    HOLDOUT, or a fifth of the pictures where that is less.
    min_count: least number of usable pictures. workers: decoding threads. memory_limit: bytes.
    progress: called with (done, total) after each file.

    Bad files are skipped with one PictureWarning and listed in `skipped`. Raises UserError where
    nothing is found, too few are usable, they would not fit in memory_limit, or holdout is wrong.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"a folder of pictures was expected, got the file {folder}")
    if holdout is not None:
        _check_holdout(holdout)
    paths = list_pictures([folder])
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
        PictureSet(pixels, torch.tensor(rows, dtype=torch.int64), _at(good, rows), tuple(skipped))
        for rows in sides
    )
    return train, kept


def split_holdout(names: Sequence[str], digests: Sequence[str], holdout: int | float) -> set[int]:
    """Positions of the pictures to hold out, decided by a hash of each name below its folder.

    Neither a seed nor the number of pictures plays a part, so with a fraction an added picture
    moves no other; with a count it can take the place of another. Files of equal content (equal
    digests) go together, by the least hash among them, so that no held out picture is trained on;
    a group that exceeds the count is passed over. At least one group stands on either side, unless
    holdout is 0.
    """
    if holdout == 0:
        return set()
    members: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        members.setdefault(digest, []).append(position)
    groups = sorted((min(_name_hash(names[p]) for p in group), group) for group in members.values())
    if len(groups) < 2 or holdout >= len(names):
        came = f"{len(names)} pictures, {len(groups)} of them different"
        raise UserError(f"cannot hold out {holdout} of {came}; hold out fewer or add pictures")
    held: set[int] = set()
    for place, group in groups[:-1]:
        by_fraction = isinstance(holdout, float)
        if place < holdout if by_fraction else len(held) + len(group) <= holdout:
            held.update(group)
    return held or set(groups[0][1])


def _name_hash(name: str) -> float:
    """A number in [0, 1) that depends on the name only; Unicode is normalised across systems."""
    text = unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape")
    # 6 bytes: exact in a double, and never rounded up to 1.
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48


def _decode_all(
    paths: Sequence[Path], size: int, workers: int, progress: Callable[[int, int], None] | None
) -> tuple[Tensor, list[str], list[tuple[Path, str]]]:
    """Pixels (good, 3, size, size) uint8, the good files' digests, and the bad ones' reasons."""
    pixels = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    digests: list[str] = []
    skipped: list[tuple[Path, str]] = []

    def decode(path: Path) -> tuple[Tensor, str] | PictureError:
        try:
            return _read_square(path, size)
        except PictureError as error:
            return error

    with ThreadPoolExecutor(max(1, workers)) as pool:
        for done, result in enumerate(pool.map(decode, paths), start=1):
            if isinstance(result, PictureError):
                skipped.append((result.path, result.reason))
            else:
                pixels[len(digests)] = result[0]
                digests.append(result[1])
            if progress is not None:
                progress(done, len(paths))
    return pixels[: len(digests)], digests, skipped


def _read_square(path: Path, size: int) -> tuple[Tensor, str]:
    """(3, size, size) uint8 by the module's resize rule, and a digest of the file's bytes."""
    content = read_content(path)
    image = flatten(decode_picture(path, content))
    width, height = image.size
    side = min(width, height)
    if side < SMALLEST_SIDE:
        least = f"at least {SMALLEST_SIDE}x{SMALLEST_SIDE}"
        raise PictureError(path, f"it has {width}x{height} pixels, {least} are needed")
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
        came = f"{count} pictures at {size}x{size} need {need / 2**30:.1f} GiB of memory"
        fits = limit // (3 * size * size)
        raise UserError(
            f"{came}, the limit is {limit / 2**30:.1f} GiB; use a smaller size or {fits} pictures"
        )


def _check_usable(
    folder: Path, count: int, least: int, skipped: Sequence[tuple[Path, str]]
) -> None:
    first = f"the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else "none was skipped"
    summary = f"{len(skipped)} of {count + len(skipped)} files skipped, {first}"
    if count < least:
        raise UserError(
            f"{folder} holds {count} usable pictures, at least {least} are needed ({summary})"
        )
    if skipped:
        warnings.warn(f"{folder}: {summary}", PictureWarning, stacklevel=3)


def _at(paths: Sequence[Path], rows: Sequence[int]) -> tuple[Path, ...]:
    return tuple(paths[row] for row in rows)
