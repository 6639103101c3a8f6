"""The training set: a folder of pictures, each decoded once, split in two, drawn in a fixed order.

Resize rule: the central square of the picture (its whole short side) is resized to size x size
with Pillow's Lanczos filter, which widens as it shrinks (antialias). This is 'resize the short
side, then crop the centre', without rounding in between. With InstanceNorm a generator's function
depends on the field of view, so pictures are never cut smaller than that.
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

from gan_slimming.config import UserError
from gan_slimming.data.feeds import shrunk
from gan_slimming.data.pictures import (
    PictureError,
    decode_picture,
    flatten,
    list_pictures,
    read_content,
)

SMALLEST_SIDE = 8
"""Pictures with a side shorter than this many pixels count as bad."""
HOLDOUT = 16
"""So many pictures are held out of a folder, where nothing else is asked for and it has enough."""


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

    def batch(self, indices: Tensor, flips: Tensor) -> Tensor:
        """Pictures as (batch, 3, size, size) float32 RGB in [-1, 1], on the device of `pixels`.

        indices: (batch,) int64 below len(self). flips: (batch,) bool, True mirrors left and right.
        """
        device = self.pixels.device
        chosen = self.pixels[self.rows[indices.cpu()].to(device)]
        mirrored = flips.to(device).view(-1, 1, 1, 1)
        return torch.where(mirrored, chosen.flip(-1), chosen).float() / 127.5 - 1.0

    @property
    def mirrors(self) -> bool:
        """Pictures may be mirrored."""
        return True

    def fed(self, indices: Tensor, flips: Tensor, shrink: int = 1) -> tuple[Tensor]:
        """A batch of pictures as a generator's feed (data.feeds), made smaller by `shrink`."""
        return (shrunk(self.batch(indices, flips), shrink),)


class Sampler:
    """An endless, resumable order of pictures: a new random permutation per epoch.

    Every picture of every epoch is mirrored with probability 1/2, drawn anew, unless `mirrors` is
    false. Batches are always full: they run on across the end of an epoch, and of a set smaller
    than a batch as well. The order depends on (count, seed) alone, so the whole state is how many
    have been drawn.
    """

    def __init__(self, count: int, batch_size: int, seed: int, mirrors: bool = True) -> None:
        if count < 1:
            raise UserError("the set of pictures to draw from is empty; add pictures")
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.mirrors = mirrors
        self.drawn = 0
        self._epoch: int | None = None
        self._order = torch.empty(0, dtype=torch.int64)
        self._flips = torch.empty(0, dtype=torch.bool)

    @property
    def epoch(self) -> int:
        """How many times the set has been gone through, from 0."""
        return self.drawn // self.count

    def next(self) -> tuple[Tensor, Tensor]:
        """The next batch: indices (batch_size,) int64 and flips (batch_size,) bool."""
        indices: list[Tensor] = []
        flips: list[Tensor] = []
        missing = self.batch_size
        while missing > 0:
            self._shuffle()
            start = self.drawn % self.count
            stop = min(start + missing, self.count)
            indices.append(self._order[start:stop])
            flips.append(self._flips[start:stop])
            self.drawn += stop - start
            missing -= stop - start
        return torch.cat(indices), torch.cat(flips)

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
        digest = hashlib.sha256(f"{self.seed}:{self._epoch}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
        self._order = torch.randperm(self.count, generator=generator)
        self._flips = torch.rand(self.count, generator=generator) < (0.5 if self.mirrors else 0)


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
