"""What a run keeps in memory: settings in bytes. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gan_slimming.errors import UserError

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
"""Suffix of an amount -> factor."""


@dataclass(frozen=True)
class Memory:
    """The most that a run keeps of what it would otherwise read or compute again.

    It changes how long a run takes, never what it computes.
    """

    images: str | int = "2G"
    """Bytes of decoded training images in memory, for each folder: 2G holds 10,000 at 256x256. A
    folder that needs more is streamed from its files as images are drawn."""
    answers: str | int = "2G"
    """Bytes of the teacher's outputs that are kept to serve again; 0 for none."""
    answers_on: Literal["device", "disk"] = "device"
    """Place of these outputs: the memory of --device, or a file of the run folder that vanishes
    when the run ends."""

    def __post_init__(self) -> None:
        parse_bytes("memory.images", self.images)
        parse_bytes("memory.answers", self.answers)
        if self.answers_on not in ("device", "disk"):
            raise UserError(f"memory.answers_on must be device or disk, got {self.answers_on}")

    @property
    def image_bytes(self) -> int:
        """Return the bytes of decoded images."""
        return parse_bytes("memory.images", self.images)

    @property
    def answer_bytes(self) -> int:
        """Return the bytes of the teacher's outputs."""
        return parse_bytes("memory.answers", self.answers)


WHOLE_FOLDERS = {"images": 8 * 2**30}
"""The setting of version 0.1, which decoded every folder up to 8 GiB at the start."""


def parse_bytes(flag: str, value: str | int) -> int:
    """Return an amount of memory in bytes, such as '500M'.

    Raises:
        UserError: anything else; a number from 1 to 999 surely lacks its unit.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKmMgGtT]?)i?[bB]?\s*", str(value))
    amount = int(float(match[1]) * UNITS[match[2].lower()]) if match else -1
    if amount == 0 or amount >= 1000:
        return amount
    raise UserError(f"{flag} must be an amount of memory such as 500M or 2G, or 0; got {value}")
