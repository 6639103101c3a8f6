"""The images that a generator draws in a runtime, as bytes, for comparing runtimes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.inputs import item_of
from gan_slimming.data.latents import SAMPLE, latents_for
from gan_slimming.data.padding import run_padded


@torch.inference_mode()
def drawn_images(
    generator: nn.Module, contract: InputContract, photos: np.ndarray | None, count: int
) -> np.ndarray | None:
    """Return what a generator makes of photos or noise: (count, 3, height, width) uint8 RGB.

    Args:
        generator: in its own convention, which `contract` says.
        photos: (count, 3, height, width) uint8 RGB; None where there are none.
        count: number of noise vectors, the same ones for every runtime.
    Returns:
        None for a generator of images without photos.
    """
    adapter = GeneratorAdapter(generator, contract)
    if contract.latent_size:
        noise = latents_for(contract, count, 0, SAMPLE)
        items = (item_of(noise, index) for index in range(count))
        return np.concatenate([_as_bytes(adapter(*(x[None] for x in item))) for item in items])
    if photos is None:
        return None
    images = torch.from_numpy(photos).float() / 127.5 - 1
    return np.concatenate([_as_bytes(run_padded(adapter, image)) for image in images.split(1)])


def _as_bytes(images: Tensor) -> np.ndarray:
    """Return images in [-1, 1] as an image file holds them."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
