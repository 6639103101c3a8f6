"""The sizes of images that a file can take: all of the generator's, multiples, or a single one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import lcm
from typing import TypeVar

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError

Written = TypeVar("Written")
STEPS = (8, 32)
"""Multiples of pixels that are tried where a forward pads or branches by itself."""


def widest(
    write: Callable[[InputContract], Written],
    contract: InputContract,
    side: int,
    *,
    fixed_size: bool = False,
) -> tuple[Written, str]:
    """Write the file for as many sizes as possible.

    Args:
        write: writes the file for the sizes that a contract allows.
        contract: the generator's own.
        side: height and width in pixels for a file of a single size.
        fixed_size: ask for a single size at once.
    Returns:
        The file, and why it takes fewer sizes than the generator, '' where it takes all.
    Raises:
        UserError: it cannot be written at a single size either.
    """
    single = contract if contract.latent_size or contract.size else replace(contract, size=side)
    if fixed_size or single is contract:
        return write(single), ""
    try:
        return write(contract), ""
    except UserError as error:
        reason = str(error)
    fixed = write(single)
    for step in STEPS:
        if contract.multiple_of % step == 0:
            continue
        try:
            return write(replace(contract, multiple_of=lcm(contract.multiple_of, step))), reason
        except UserError:
            continue
    return fixed, reason
