"""CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of 32x32 pixels.

It is read from its official Python archive (a tar, or its folder cifar-10-batches-py), and from
images in folders of their classes: SPLIT/CLASS/0000.jpg, in a tar or unpacked.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from torch import Tensor

from gan_slimming.data.image_files import (
    SUFFIXES,
    ImageError,
    decode_image,
    flatten,
    list_images,
    read_content,
)
from gan_slimming.data.plain_pickle import PickleError, read_plain_pickle
from gan_slimming.errors import UserError, one_line

SIDE = 32
CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
BATCHES = {"train": tuple(f"data_batch_{k}" for k in range(1, 6)), "test": ("test_batch",)}
"""Split -> files of the official archive."""
MOST_BYTES = 1 << 26
"""Largest single file in an archive that is read."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with their classes."""

    pixels: Tensor
    """(count, 3, 32, 32) uint8, RGB."""
    labels: Tensor
    """(count,) int64, positions in CLASSES."""


def read_cifar10(path: Path, split: str = "train") -> LabelledImages:
    """Read one split of CIFAR-10, in the order of its files' names.

    Args:
        path: a tar (of any compression) or a folder.
        split: train or test.
    Raises:
        UserError: nothing of CIFAR-10 is there, or it is damaged.
    """
    if not path.exists():
        raise UserError(f"no such file or folder: {path}; name CIFAR-10's archive or its folder")
    named, pixels, labels = [], [], []
    for name, content in _files(path, split):
        if name.name in BATCHES[split]:
            made = _of_batch(path, name, content)
        else:
            made = _of_image(path, name, content)
        named.append(str(name))
        pixels.append(made.pixels)
        labels.append(made.labels)
    if not pixels:
        raise UserError(
            f"{path} holds no {split} images of CIFAR-10; files are expected as "
            f"{split}/{CLASSES[0]}/0000.jpg, or the official {BATCHES[split][0]}"
        )
    order = sorted(range(len(named)), key=lambda place: named[place])
    return LabelledImages(
        torch.cat([pixels[place] for place in order]), torch.cat([labels[place] for place in order])
    )


def _files(path: Path, split: str) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield name and content of the files that belong to a split."""
    if path.is_dir():
        official = [file for name in BATCHES[split] for file in sorted(path.rglob(name))]
        for file in official or _images(path):
            name = PurePosixPath(path.name, file.relative_to(path).as_posix())
            if _belongs(name, split):
                yield name, read_content(file)
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if not (member.isfile() and _belongs(name, split)):
                    continue
                if member.size > MOST_BYTES:
                    raise UserError(f"{path}: {name} has {member.size:,} bytes, too many for it")
                file = archive.extractfile(member)
                assert file is not None
                yield name, file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        reason = one_line(error)[:150]
        raise UserError(
            f"{path} is no whole tar ({reason}); name CIFAR-10's tar or a folder"
        ) from error


def _images(folder: Path) -> list[Path]:
    try:
        return list_images([folder])
    except UserError:
        return []


def _belongs(name: PurePosixPath, split: str) -> bool:
    """Return whether a file is one of a split's batches or images."""
    if name.name in BATCHES[split]:
        return True
    placed = name.parent.parent.name == split and name.parent.name in CLASSES
    return placed and name.suffix.lower() in SUFFIXES


def _of_batch(path: Path, name: PurePosixPath, content: bytes) -> LabelledImages:
    """Return the images in a file of the official archive, whose rows are planes R, G, B."""
    try:
        batch = read_plain_pickle(content)
        rows, labels = batch[b"data"], batch[b"labels"]
        pixels = torch.from_numpy(rows.reshape(-1, 3, SIDE, SIDE))
        classes = torch.tensor([int(label) for label in labels], dtype=torch.int64)
        if len(pixels) != len(classes) or not bool(((classes >= 0) & (classes < 10)).all()):
            raise ValueError("images and labels do not fit")
    except (PickleError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{path}: {name} is no batch of CIFAR-10 ({one_line(error)}); nothing in it was run; "
            "download the archive again"
        ) from error
    return LabelledImages(pixels, classes)


def _of_image(path: Path, name: PurePosixPath, content: bytes) -> LabelledImages:
    """Return one image file."""
    image = flatten(decode_image(Path(name), content))
    if image.size != (SIDE, SIDE):
        width, height = image.size
        raise ImageError(path / name, f"it has {width}x{height} pixels, 32x32 are expected")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return LabelledImages(pixels[None], torch.tensor([CLASSES.index(name.parent.name)]))
