"""The memory of this machine."""

from __future__ import annotations

import os
from pathlib import Path

FALLBACK_BYTES = 4 << 30
"""Taken for free where the system does not say."""
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files in which containers say how much they may take in all."""


def free_memory() -> int:
    """Return the bytes that this process may still take, without making others wait."""
    free = [_available(), *(_number(Path(file)) for file in LIMITS)]
    return min((size for size in free if size), default=FALLBACK_BYTES)


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # 'max': no limit
        return None
