"""Which images of a folder are held out: chosen by name, and never a copy of one trained on."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Sequence

from gan_slimming.errors import UserError

HOLDOUT = 16
"""Default number of images held out of a folder; of small folders, a fifth."""


def default_holdout(count: int) -> int:
    """Return how many of `count` images are held out where nothing else is asked for."""
    return min(HOLDOUT, max(1, count // 5))


def split_holdout(names: Sequence[str], digests: Sequence[str], holdout: int | float) -> set[int]:
    """Return the positions of the images to hold out, chosen by a hash of each relative name.

    As `pick_holdout`, for files whose digests are all known.

    Args:
        digests: equal for files of equal content.
    """
    members: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        members.setdefault(digest, []).append(position)
    return pick_holdout(names, lambda position: members[digests[position]], holdout)


def pick_holdout(
    names: Sequence[str], copies: Callable[[int], Sequence[int]], holdout: int | float
) -> set[int]:
    """Return the positions of the images to hold out, looking at as few files as possible.

    The choice depends on neither a seed nor the number of images. With a fraction, an added image
    moves no other; with a count, it can replace another. Files of equal content form a group,
    placed by its least hash, so that no held-out image is trained on. Groups that exceed the count
    are skipped. Both sides get at least one group, unless holdout is 0.

    Args:
        names: relative paths.
        copies: a position -> those of all files of its content, itself included; none for a file
            that is no usable image. Asked in the order of hashes until the choice is made.
        holdout: a count (int) or a fraction (float).
    Raises:
        UserError: there are too few images, or too few different ones.
    """
    if holdout == 0:
        return set()
    if holdout >= len(names):
        raise UserError(
            f"cannot hold out {holdout} of {len(names)} images; hold out fewer or add images"
        )
    hashes = [_name_hash(name) for name in names]
    by_fraction = isinstance(holdout, float)
    held: set[int] = set()
    first: set[int] = set()
    seen: set[int] = set()
    for position in sorted(range(len(names)), key=hashes.__getitem__):
        if position in seen:
            continue
        group = set(copies(position))
        seen |= group | {position}
        if len(seen) == len(names):  # the last group is never held out
            break
        if not group:
            continue
        first = first or group
        if hashes[position] < holdout if by_fraction else len(held) + len(group) <= holdout:
            held |= group
        if (by_fraction and hashes[position] >= holdout) or len(held) == holdout:
            break
    if not first:
        raise UserError(
            f"cannot hold out {holdout} of {len(names)} images, all the same or unusable; add "
            "different images"
        )
    return held or first


def _name_hash(name: str) -> float:
    """Hash a name to a number in [0, 1); Unicode is normalised, because systems differ in it."""
    text = unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape")
    # 6 bytes: exact in a double, and never rounded up to 1.
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48
