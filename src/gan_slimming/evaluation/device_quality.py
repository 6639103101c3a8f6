"""Quality in the very runtime: what a runtime draws, compared with what torch draws."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_slimming.data.image_files import ImageError
from gan_slimming.errors import UserError
from gan_slimming.evaluation.images import as_image, open_images, read_image
from gan_slimming.metrics.distances import psnr
from gan_slimming.perceptual.lpips import lpips_at_hand

BEST_PSNR = 100.0
"""PSNR in dB of images that are equal, as in evaluate."""
LEAST_SIDE = 64
"""Least side in pixels for LPIPS; smaller images are enlarged, as in evaluate."""


def read_photos(folder: str | Path, size: int, count: int) -> np.ndarray:
    """Return the central squares of `count` photos, spread over the folder.

    Returns:
        (count, 3, size, size) uint8 RGB; fewer where the folder holds fewer.
    Raises:
        UserError: there is no such folder, or no image in it can be read.
    """
    paths = open_images(folder, least=1).paths
    step = max(1, len(paths) // count)
    found: list[Tensor] = []
    for path in (*paths[::step], *(p for i, p in enumerate(paths) if i % step)):
        if len(found) == count:
            break
        try:
            found.append(read_image(path, size))
        except ImageError:
            continue
    if not found:
        raise UserError(f"no image in {folder} can be read; give other --data")
    return torch.stack(found).numpy()


def quality_of(images: np.ndarray | None, expected: np.ndarray | None) -> dict[str, float | None]:
    """Return the mean LPIPS (None without its weights on this machine) and PSNR in dB.

    Args:
        images, expected: (count, 3, height, width) uint8 RGB; None gives None.
    """
    if images is None or expected is None or images.shape != expected.shape:
        return {"lpips": None, "psnr": None}
    pairs = [
        (as_image(torch.from_numpy(a))[None], as_image(torch.from_numpy(b))[None])
        for a, b in zip(images, expected, strict=True)
    ]
    near = [float(psnr(a, b).clamp(max=BEST_PSNR)) for a, b in pairs]
    lpips = _lpips()
    apart = [lpips(a, b) for a, b in pairs] if lpips else None
    return {"lpips": _mean(apart) if apart else None, "psnr": _mean(near)}


@cache
def _lpips() -> Callable[[Tensor, Tensor], float] | None:
    network = lpips_at_hand()
    if network is None:
        return None

    @torch.inference_mode()
    def distance(first: Tensor, second: Tensor) -> float:
        return float(network(_enlarged(first), _enlarged(second)))

    return distance


def _enlarged(images: Tensor) -> Tensor:
    short = min(images.shape[-2:])
    if short >= LEAST_SIDE:
        return images
    scale = -(-LEAST_SIDE // short)
    return torch.nn.functional.interpolate(images, scale_factor=scale, mode="bilinear")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
