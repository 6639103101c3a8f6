"""Folders of images under test or for reference: listed once, paired by name, read in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_slimming.data.holdout import default_holdout
from gan_slimming.data.image_files import (
    ImageError,
    decode_image,
    flatten,
    list_images,
    read_content,
)
from gan_slimming.data.square_images import SMALLEST_SIDE
from gan_slimming.data.streamed import held_out_of
from gan_slimming.errors import UserError

NAMED = 3
"""Most files that a message names."""
MANY = 1000
"""Images of a folder from which on only those that may be held out are opened."""


@dataclass(frozen=True)
class ImageFolder:
    """The images below a folder at the time of listing."""

    root: Path
    """The folder."""
    paths: tuple[Path, ...]
    """Its images at any depth, sorted."""
    stamps: tuple[tuple[int, int], ...]
    """Size in bytes and modification time in ns of each image."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return each image's path below the folder, without its suffix."""
        return tuple(p.relative_to(self.root).with_suffix("").as_posix() for p in self.paths)

    @cached_property
    def by_name(self) -> dict[str, Path]:
        """Return name -> path. Raises UserError if two images share a name."""
        found: dict[str, Path] = {}
        for name, path in zip(self.names, self.paths, strict=True):
            if name in found:
                raise UserError(
                    f"{self.root} holds both {found[name].name} and {path.name}, so it is not "
                    f"clear which one is meant by {name}; keep one"
                )
            found[name] = path
        return found

    def check_unchanged(self) -> None:
        """Raise UserError if an image was added, removed or changed since the listing."""
        now = open_images(self.root, least=0)
        before = dict(zip(self.paths, self.stamps, strict=True))
        after = dict(zip(now.paths, now.stamps, strict=True))
        changed = sorted({path for path, _ in before.items() ^ after.items()})
        if changed:
            raise UserError(
                f"{self.root} changed while it was read ({_listed(changed)}); nothing was judged, "
                "run again when it is complete"
            )


def open_images(folder: str | Path, least: int = 2) -> ImageFolder:
    """List the images of a folder.

    Raises:
        UserError: `folder` is no folder, or holds fewer than `least` images.
    """
    root = Path(folder)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UserError(f"{root} {what}; give a folder of images")
    paths = tuple(list_images([root])) if least else tuple(_listed_or_none(root))
    if len(paths) < least:
        raise UserError(f"{root} holds {len(paths)} image(s), at least {least} are needed")
    stamps = []
    for path in paths:
        try:
            state = path.stat()
        except OSError as error:
            raise UserError(f"{root} changes while it is read ({path} has gone)") from error
        stamps.append((state.st_size, state.st_mtime_ns))
    return ImageFolder(root, paths, tuple(stamps))


def _listed_or_none(root: Path) -> list[Path]:
    try:
        return list_images([root])
    except UserError:
        return []


def partners(names: Sequence[str], folder: ImageFolder, of: str) -> tuple[Path, ...]:
    """Return the images of a folder that have the given names, in the order of the names.

    Args:
        names: paths without suffix, relative to the folder.
        folder: the folder to search; its further images are ignored.
        of: the source of the names, for the message.
    Raises:
        UserError: a name has no image.
    """
    missing = [name for name in names if name not in folder.by_name]
    if missing:
        raise UserError(
            f"{folder.root} lacks partners for {len(missing)} of {len(names)} images of {of} "
            f"({_listed(missing)}); it holds {_listed(folder.names)}; images belong together by "
            "their path without its ending"
        )
    return tuple(folder.by_name[name] for name in names)


def read_image(path: Path, size: int | None = None) -> Tensor:
    """Return an image as (3, height, width) uint8 RGB, upright, transparency over white.

    Args:
        path: the image file.
        size: side in pixels to which the central square is resized (Lanczos), as for training;
            None keeps the image as it is.
    Raises:
        ImageError: the file cannot be read, or is too small to resize.
    """
    return decoded(path, read_content(path), size)


def decoded(path: Path, content: bytes, size: int | None = None) -> Tensor:
    """Return an image as `read_image` does, from the bytes of its file."""
    image = flatten(decode_image(path, content))
    if size is not None:
        width, height = image.size
        side = min(width, height)
        if side < SMALLEST_SIDE:
            raise ImageError(path, f"it has {width}x{height} pixels, too few to resize")
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.LANCZOS, box=box)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def as_image(levels: Tensor) -> Tensor:
    """Return 8-bit levels in [0, 255] as float32 RGB in [-1, 1]."""
    return levels.float() / 127.5 - 1


def held_out(folder: ImageFolder, holdout: int | None) -> ImageFolder:
    """Return the images of a folder that a run with this `holdout` was not trained on.

    Args:
        folder: the training folder.
        holdout: as for compress; None for its default.
    """
    usable = list(range(len(folder.paths)))
    if len(usable) < MANY:  # so few that unusable ones can change the default
        usable = [place for place in usable if _is_image(folder.paths[place])]
    count = default_holdout(len(usable)) if holdout is None else holdout
    kept = held_out_of(folder.root, [folder.paths[place] for place in usable], count)
    kept = [usable[place] for place in sorted(kept)]
    paths, stamps = (tuple(field[p] for p in kept) for field in (folder.paths, folder.stamps))
    return HeldOut(folder.root, paths, stamps, whole=folder)  # pyright: ignore[reportArgumentType]


def _is_image(path: Path) -> bool:
    try:
        decode_image(path, read_content(path))
    except ImageError:
        return False
    return True


@dataclass(frozen=True)
class HeldOut(ImageFolder):
    """A part of a folder, counted as changed whenever the whole folder has changed."""

    whole: ImageFolder | None = None
    """The whole folder."""

    def check_unchanged(self) -> None:
        """Raise UserError if the whole folder has changed."""
        assert self.whole is not None
        self.whole.check_unchanged()


def _listed(names: Sequence[object]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more
