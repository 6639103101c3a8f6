"""What a generator takes, found by trying it on inputs that have a shape and no values."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract

STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Sides of images are tried in multiples of so many pixels."""
MIN_SIDE = 64
"""Shortest side in pixels that is tried: reflection needs some to reflect."""


def infer_contract(module: nn.Module) -> InputContract:
    """Channels, multiples of sides and scale of a generator that does not tell its contract.

    A side counts as taken where the output's is a whole multiple of it: two convolutions of stride
    2 and two transposed ones take 65 pixels, but give 68. Nothing is computed, and the module stays
    as it is.

    Returns:
        The defaults where no image that is tried is taken, as by a generator of noise.
    """
    try:
        shell = copy.deepcopy(module).to("meta").eval()
    except Exception:  # a module of any kind, which may refuse for any reason
        return InputContract()
    for channels in (3, 1):
        for step in STEPS:
            if scale := _scale(shell, channels, *_sides(step)):
                return InputContract(channels=channels, multiple_of=step, scale=scale)
    return InputContract()


def _sides(step: int) -> tuple[int, int]:
    """Height and width: odd multiples of `step`, and so of no larger one of STEPS."""
    first = max(1, MIN_SIDE // step) | 1
    return first * step, (first + 2) * step


@torch.no_grad()
def _scale(shell: nn.Module, channels: int, height: int, width: int) -> int:
    """How many times the sides of the image the output's are, 0 where that is no whole number."""
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            made = shell(torch.zeros(1, channels, height, width))
    except Exception:  # whatever a module of any kind raises, it does not take this
        return 0
    if not isinstance(made, Tensor) or made.dim() != 4:
        return 0
    scale = made.shape[2] // height
    return scale if made.shape[2:] == (scale * height, scale * width) else 0
