"""A folder of images that fits in memory: each decoded once, split in training and held-out sets.

Larger folders are streamed (`data.streamed`). The resize rule is that of `data.square_images`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from gan_slimming.data.holdout import default_holdout, split_holdout
from gan_slimming.data.image_files import ImageError, list_images
from gan_slimming.data.square_images import ImageSet, ImageWarning, bytes_of, read_square
from gan_slimming.errors import UserError


def open_folder(
    folder: str | Path,
    size: int,
    *,
    holdout: int | float | None,
    min_count: int = 2,
    workers: int = 2,
    memory_limit: int = 8 * 2**30,
    progress: Callable[[int, int], None] | None = None,
    files: Sequence[Path] = (),
) -> tuple[ImageSet, ImageSet]:
    """Decode all images of a folder once, and split them into a training and a held-out set.

    Transparent pixels are laid over white. Unusable files are listed in `skipped`, with one
    ImageWarning.

    Args:
        size: height and width in pixels after the resize rule.
        holdout: a count (int) or a fraction in [0, 1) (float) of images; see split_holdout. None
            for HOLDOUT, or a fifth of the images where that is less.
        min_count: least number of usable images.
        workers: number of decoding threads.
        memory_limit: in bytes.
        progress: called with (done, total) after each file.
        files: the images, where a file in `folder` names them.

    Raises:
        UserError: no images, too few usable ones, more than memory_limit, or a wrong holdout.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"a folder of images was expected, got the file {folder}")
    if holdout is not None:
        _check_holdout(holdout)
    paths = list(files) or list_images([folder])
    _check_memory(len(paths), size, memory_limit)
    pixels, digests, skipped = _decode_all(paths, size, workers, progress)
    bad = {path for path, _ in skipped}
    folder = folder.resolve() if files else folder
    good = [path for path in paths if path not in bad]
    _check_usable(folder, len(good), max(2, min_count), skipped)
    names = [_name(path, folder) if files else path.relative_to(folder).as_posix() for path in good]
    if holdout is None:
        holdout = default_holdout(len(good))
    held = split_holdout(names, digests, holdout)
    sides = ([row for row in range(len(good)) if (row in held) is side] for side in (False, True))
    train, kept = (
        ImageSet(pixels, torch.tensor(rows, dtype=torch.int64), _at(good, rows), tuple(skipped))
        for rows in sides
    )
    return train, kept


def _decode_all(
    paths: Sequence[Path], size: int, workers: int, progress: Callable[[int, int], None] | None
) -> tuple[Tensor, list[str], list[tuple[Path, str]]]:
    """Return pixels (good, 3, size, size) uint8, digests of good files, and reasons of bad ones."""
    pixels = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    digests: list[str] = []
    skipped: list[tuple[Path, str]] = []

    def decode(path: Path) -> tuple[Tensor, str] | ImageError:
        try:
            return read_square(path, size)
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
    need = bytes_of(count, size)
    if need > limit:
        came = f"{count} images at {size}x{size} need {need / 2**30:.1f} GiB of memory"
        fits = limit // bytes_of(1, size)
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


def _name(path: Path, folder: Path) -> str:
    """Return the path of an image as seen from a folder that need not hold it."""
    return Path(os.path.relpath(path.resolve(), folder)).as_posix()


def _at(paths: Sequence[Path], rows: Sequence[int]) -> tuple[Path, ...]:
    return tuple(paths[row] for row in rows)
