"""Batches of inputs, images or noise, in one form."""

from __future__ import annotations

from pathlib import Path

import torch

from gan_slimming.data.folder import ImageSet
from gan_slimming.data.inputs import downscaled, enlarged


def test_small_images_are_enlarged_and_others_left() -> None:
    image = torch.rand(1, 3, 16, 24)
    assert enlarged(image, 16) is image
    large = enlarged(image, 32)
    assert large.shape == (1, 3, 32, 48)
    torch.testing.assert_close(downscaled(large, 2).mean(), image.mean(), rtol=0, atol=0.01)
    flat = enlarged(torch.full((1, 3, 4, 4), 0.3), 64)
    torch.testing.assert_close(flat, torch.full((1, 3, 64, 64), 0.3))


def test_a_set_of_images_is_a_feed() -> None:
    pixels = torch.randint(0, 256, (3, 3, 8, 8)).to(torch.uint8)
    images = ImageSet(pixels, torch.arange(3), (Path("a"), Path("b"), Path("c")))
    chosen = torch.tensor([2, 0]), torch.tensor([1, 0])
    (straight,) = images.batch(*chosen)
    assert torch.equal(straight, images.images(*chosen))
    (small,) = images.batch(*chosen, downscale=2)
    torch.testing.assert_close(small, downscaled(straight, 2))
    assert images.augmentations() == 2 < images.augmentations(2, draws=100)
