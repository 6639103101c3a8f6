"""Large images in tiles that overlap, for generators that look only so far around a pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.padding import CropBox, crop_back, pad_to_multiple, run_padded
from gan_slimming.errors import UserError

_WIDTH, _HEIGHT = 768, 64
"""Least size in pixels of the strip on which the reach is measured."""
_CHANGED = 32
"""Least width in pixels of the part of the strip that is changed."""
_VISIBLE = 1e-4
"""Least change of a pixel in [-1, 1] that counts: a fortieth of half a step of 8 bits."""


@torch.inference_mode()
def reach_of(generator: GeneratorAdapter, device: torch.device) -> int | None:
    """Return how many pixels of the input away a change still moves the output, by trial.

    One end of a strip of noise is painted white, then the other. Zero padding, strides and
    attention over windows are thus included. An InstanceNorm, or attention over the whole image,
    moves all pixels.

    Returns:
        The reach, rounded up to a multiple that the generator takes; None for the whole image.
    """
    contract, scale = generator.contract, generator.contract.scale
    height, width = contract.next_side(_HEIGHT), contract.next_side(_WIDTH)
    changed = contract.next_side(_CHANGED)
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain = run_padded(generator, noise.to(device))
    farthest = 0
    for end in (slice(0, changed), slice(width - changed, width)):
        painted = noise.clone()
        painted[..., end] = 1.0
        moved = (run_padded(generator, painted.to(device)) - plain).abs().amax((0, 1, 2)) > _VISIBLE
        columns = moved.nonzero().flatten().div(scale, rounding_mode="floor").tolist()
        away = (max(columns) - changed + 1) if end.start == 0 else (width - changed - min(columns))
        farthest = max(farthest, away if columns else 0)
    if farthest >= width - 2 * changed:
        return None
    return -(-farthest // contract.multiple_of) * contract.multiple_of + contract.multiple_of


@torch.inference_mode()
def run_tiled(generator: GeneratorAdapter, image: Tensor, tile: int, reach: int) -> Tensor:
    """Return the generator's image (1, 3, scale * height, scale * width), float32, on the CPU.

    Each tile is computed with `reach` pixels around it, which are then cut off, and so as it is in
    the whole image.

    Args:
        image: (1, 3, height, width) RGB in [-1, 1].
        tile: side of a tile in pixels of the input, at least 1; rounded up to what the generator
            takes.
        reach: from reach_of.
    """
    contract, scale = generator.contract, generator.contract.scale
    side = contract.next_side(tile)
    padded, box = pad_to_multiple(image, contract.multiple_of, contract.min_size)
    height, width = padded.shape[-2:]
    result = torch.empty(1, 3, scale * height, scale * width)
    for top in range(0, height, side):
        for left in range(0, width, side):
            rows, inner_rows = _around(top, side, reach, height)
            columns, inner_columns = _around(left, side, reach, width)
            made = run_padded(generator, padded[..., rows, columns]).cpu()
            place = (_scaled(slice(top, min(top + side, height)), scale),
                     _scaled(slice(left, min(left + side, width)), scale))  # fmt: skip
            inside = (_scaled(inner_rows, scale), _scaled(inner_columns, scale))
            result[..., place[0], place[1]] = made[..., inside[0], inside[1]]
    return crop_back(result, CropBox(scale * box.height, scale * box.width))


def check_tile(tile: int, reach: int | None) -> int:
    """Return the reach of a generator that can be tiled.

    Raises:
        UserError: the tile is no size, or each pixel depends on the whole image.
    """
    if tile < 1:
        raise UserError(f"tile must be at least 1 pixel, got {tile}; take 512")
    if reach is None:
        raise UserError(
            "this generator looks at the whole image for each pixel, as InstanceNorm and attention "
            "do, so that tiles would differ from the whole; leave out --tile, or scale images down"
        )
    return reach


def _around(start: int, side: int, reach: int, length: int) -> tuple[slice, slice]:
    """Return a tile with its surroundings, and the tile itself within these."""
    first, end = max(0, start - reach), min(length, start + side + reach)
    return slice(first, end), slice(start - first, min(start + side, length) - first)


def _scaled(part: slice, scale: int) -> slice:
    return slice(scale * part.start, scale * part.stop)
