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
    write: Callable[[InputContract, bool], Written],
    contract: InputContract,
    side: int,
    *,
    fixed_size: bool = False,
) -> tuple[Written, str]:
    """Write the file for as many sizes as possible, and for any batch where that can be.

    Args:
        write: writes the file for the sizes that a contract allows; if True, for single images.
        contract: the generator's own.
        side: height and width in pixels for a file of a single size.
        fixed_size: ask for a single size at once.
    Returns:
        The file, and why it takes less than the generator, '' where it takes all.
    Raises:
        UserError: it cannot be written for one image of a single size either.
    """
    single = contract if contract.latent_size or contract.size else replace(contract, size=side)
    wide, reason = single if fixed_size else contract, ""
    for alone in (False, True):
        try:
            return write(wide, alone), reason
        except UserError as error:
            reason = reason or str(error)
        fixed = None if single is wide else _written(write, single, alone)
        if fixed is None:
            continue
        for step in (s for s in STEPS if contract.multiple_of % s):
            trial = replace(contract, multiple_of=lcm(contract.multiple_of, step))
            if (made := _written(write, trial, alone)) is not None:
                return made, reason
        return fixed, reason
    raise UserError(reason)


def _written(
    write: Callable[[InputContract, bool], Written], contract: InputContract, alone: bool
) -> Written | None:
    try:
        return write(contract, alone)
    except UserError:
        return None
