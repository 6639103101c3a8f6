"""The input contract of a generator, inferred from trials on shapes without values."""

from __future__ import annotations

import copy
import warnings
from itertools import product

import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract

STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Multiples, in pixels, to which sides of images are tried."""
SIZES = (256, 128, 512, 64, 224, 1024, 96, 112, 32, 16, 8)
"""Sides tried of a generator that takes a single size, most usual first."""
MIN_SIDE = 64
"""Shortest side tried, in pixels, because reflection padding needs a minimum."""


def infer_contract(module: nn.Module) -> InputContract:
    """Infer channels, sizes and scale of a generator without a declared contract.

    A side is accepted if the output's is a whole multiple of it. Two convolutions of stride 2 and
    two transposed ones, for instance, run on 65 pixels but return 68. Nothing is computed, and the
    module is unchanged.

    Returns:
        The defaults where no image is accepted, as by a generator of noise.
    """
    try:
        shell = copy.deepcopy(module).to("meta")
        shell.eval()
    except Exception:  # the user's module may refuse for any reason
        return InputContract()
    for channels in (3, 1):
        for step in STEPS:
            if scale := _scale(shell, channels, *_sides(step)):
                return InputContract(channels=channels, multiple_of=step, scale=scale)
    for channels, side in product((3, 1), SIZES):
        if scale := _scale(shell, channels, side, side):
            return InputContract(channels=channels, size=side, scale=scale)
    return InputContract()


def _sides(step: int) -> tuple[int, int]:
    """Return height and width: odd multiples of `step`, and so of no larger one of STEPS."""
    first = max(1, MIN_SIDE // step) | 1
    return first * step, (first + 2) * step


@torch.no_grad()
def _scale(shell: nn.Module, channels: int, height: int, width: int) -> int:
    """Return the scale of the output's sides to the image's, 0 if it is not a whole number."""
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            made = shell(torch.zeros(1, channels, height, width))
    except Exception:  # any error means that the module refuses this image
        return 0
    if not isinstance(made, Tensor) or made.dim() != 4:
        return 0
    scale = made.shape[2] // height
    return scale if made.shape[2:] == (scale * height, scale * width) else 0
