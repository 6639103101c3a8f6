"""Folders too large for memory: images are read when they are drawn, by threads, ahead of time.

What is drawn depends on neither the number of threads nor the memory: both save time alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from gan_slimming.data.holdout import default_holdout, pick_holdout
from gan_slimming.data.image_files import ImageError, read_content
from gan_slimming.data.square_images import (
    SMALLEST_SIDE,
    ImageSet,
    ImageWarning,
    SquareImages,
    bytes_of,
    digest_of,
    read_square,
)
from gan_slimming.errors import UserError

AHEAD = 16
"""Images that each thread reads in advance."""
MOST_BAD = 100
"""Unusable files in a row after which a folder is given up."""


class StreamedImages(SquareImages):
    """Square images that are read from their files, and kept while there is room.

    An unusable file is replaced by the next usable one, in the order of the paths.

    Args:
        paths: the image files, sorted.
        rows: (count,) int64, the number of each in its whole folder.
        size: height and width in pixels after the resize rule of `square_images`.
        memory_limit: bytes of images that are kept.
        workers: threads that read ahead; 0 reads in the caller's.
    """

    def __init__(
        self, paths: Sequence[Path], rows: Tensor, size: int, memory_limit: int, workers: int
    ) -> None:
        self.paths, self.rows, self.size, self.workers = tuple(paths), rows, size, workers
        self.skipped: dict[Path, str] = {}
        room = min(len(self.paths), memory_limit // bytes_of(1, size))
        # Memory that nothing was written to takes no room yet.
        self._kept = torch.empty(room, 3, size, size, dtype=torch.uint8)
        self._places: dict[int, int] = {}
        self._coming: dict[int, Future[Tensor | ImageError]] = {}
        self._threads = ThreadPoolExecutor(workers) if workers else None

    def squares(self, indices: Tensor) -> Tensor:
        """Return images (batch, 3, size, size), uint8 RGB, of indices (batch,) int64."""
        return torch.stack([self._square(index) for index in indices.tolist()])

    def expect(self, coming: Callable[[int], Tensor]) -> None:
        """Let threads read what is drawn next and not kept."""
        if self._threads is None:
            return
        expected = dict.fromkeys(coming(AHEAD * self.workers).tolist())
        self._coming = {
            index: self._coming.get(index) or self._threads.submit(self._read, index)
            for index in expected
            if index not in self._places
        }

    def _square(self, index: int) -> Tensor:
        if index in self._places:
            return self._kept[self._places[index]]
        pixels = self._usable(index)
        if len(self._places) < len(self._kept):
            place = self._places[index] = len(self._places)
            self._kept[place] = pixels
        return pixels

    def _usable(self, index: int) -> Tensor:
        """Return the image at `index`, or the next one that can be read."""
        reading = self._coming.pop(index, None)
        found = reading.result() if reading else self._read(index)
        for step in range(1, min(MOST_BAD, len(self))):
            if isinstance(found, Tensor):
                return found
            self._skip(found)
            found = self._read((index + step) % len(self))
        if isinstance(found, Tensor):
            return found
        raise UserError(f"{min(MOST_BAD, len(self))} files in a row are unusable, such as: {found}")

    def _read(self, index: int) -> Tensor | ImageError:
        try:
            return read_square(self.paths[index], self.size)[0]
        except ImageError as error:
            return error

    def _skip(self, error: ImageError) -> None:
        if not self.skipped:
            text = f"{error}; each such image is replaced by the next one"
            warnings.warn(text, ImageWarning, stacklevel=2)
        self.skipped[error.path] = error.reason


def open_streamed(
    folder: Path,
    paths: Sequence[Path],
    size: int,
    *,
    holdout: int | float | None,
    memory_limit: int,
    workers: int,
) -> tuple[StreamedImages, ImageSet]:
    """Split the images of a folder; only held-out ones, and files of their size, are read.

    The split is that of `folder.open_folder`.

    Args:
        paths: all images of the folder, sorted.
        holdout, workers: as for `open_folder`.
        memory_limit: bytes of training images that are kept; those held out come on top.
    Raises:
        UserError: too few images differ, or 100 in a row are unusable.
    """
    holdout = default_holdout(len(paths)) if holdout is None else holdout
    held = sorted(held_out_of(folder, paths, holdout))
    pixels = torch.empty(len(held), 3, size, size, dtype=torch.uint8)
    for place, position in enumerate(held):
        pixels[place] = read_square(paths[position], size)[0]
    inside = set(held)
    rows = [row for row in range(len(paths)) if row not in inside]
    train = StreamedImages(
        [paths[row] for row in rows], torch.tensor(rows), size, memory_limit, workers
    )
    train.squares(torch.zeros(1, dtype=torch.int64))  # a folder without images fails here
    names = tuple(paths[position] for position in held)
    return train, ImageSet(pixels, torch.arange(len(held)), names)


def held_out_of(folder: Path, paths: Sequence[Path], holdout: int | float) -> set[int]:
    """Return the positions of the images to hold out; see `pick_holdout`.

    Only files of the same length as a candidate are read to look for its copies.
    """
    lengths = [_length(path) for path in paths] if holdout else []
    alike: dict[int, list[int]] = {}
    for position, length in enumerate(lengths):
        alike.setdefault(length, []).append(position)
    digests: dict[int, str] = {}

    def digest(position: int) -> str:
        if position not in digests:
            try:
                digests[position] = digest_of(read_content(paths[position]))
            except ImageError:
                digests[position] = ""
        return digests[position]

    def copies(position: int) -> list[int]:
        try:
            own = digests[position] = read_square(paths[position], SMALLEST_SIDE)[1]
        except ImageError:
            return []
        return [other for other in alike[lengths[position]] if digest(other) == own]

    return pick_holdout([path.relative_to(folder).as_posix() for path in paths], copies, holdout)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
