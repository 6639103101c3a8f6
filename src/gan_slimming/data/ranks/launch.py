"""The place of this process among those of its run, as torchrun tells it. Imports no torch."""

from __future__ import annotations

import os


def count() -> int:
    """Return the number of processes that train one student together; 1 without torchrun."""
    return _told("WORLD_SIZE", 1)


def rank() -> int:
    """Return the number of this process, from 0."""
    return _told("RANK", 0) if count() > 1 else 0


def alone() -> bool:
    """Return whether this process trains on its own."""
    return count() == 1


def is_first() -> bool:
    """Return whether this process speaks and writes for all."""
    return rank() == 0


def local_rank() -> int:
    """Return the number of this process among those of its machine, which is that of its GPU."""
    return _told("LOCAL_RANK", rank())


def local_count() -> int:
    """Return the number of processes on this machine."""
    return _told("LOCAL_WORLD_SIZE", count())


def _told(name: str, otherwise: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else otherwise
