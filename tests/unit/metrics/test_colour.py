"""CIEDE2000 on the published pairs, and against scikit-image on images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.color import deltaE_ciede2000, rgb2lab
from torch.nn import functional as F

from gan_slimming.metrics.colour import ciede2000, colour_difference, gaussian_blur
from gan_slimming.perceptual.lab import lab, linear_rgb

SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.0200 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1.0000
50 -1.1848 -84.8006 50 0 -82.7485 1.0000
50 -0.9009 -85.5211 50 0 -82.7485 1.0000
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.4900 -0.0010 50 -2.4900 0.0009 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0010 7.1792
50 2.4900 -0.0010 50 -2.4900 0.0011 7.2195
50 2.4900 -0.0010 50 -2.4900 0.0012 7.2195
50 -0.0010 2.4900 50 0.0009 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0010 -2.4900 4.8045
50 -0.0010 2.4900 50 0.0011 -2.4900 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.9030
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1.0000
50 2.5 0 50 3.2972 0 1.0000
50 2.5 0 50 1.8634 0.5757 1.0000
50 2.5 0 50 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""
"""Table 1 of Sharma, Wu and Dalal 2005: two colours in L*a*b* and their difference."""


def test_the_published_pairs_to_all_their_digits() -> None:
    table = torch.tensor(
        [[float(word) for word in line.split()] for line in SHARMA.split("\n") if line],
        dtype=torch.float64,
    )
    assert table.shape == (34, 7)
    found = ciede2000(table[:, :3], table[:, 3:6])
    torch.testing.assert_close(found, table[:, 6], atol=5e-5, rtol=0)
    torch.testing.assert_close(ciede2000(table[:, 3:6], table[:, :3]), found)


def test_images_agree_with_scikit_image() -> None:
    first, second = torch.rand(2, 3, 3, 12, 10, dtype=torch.float64).unbind()
    of_both = []
    for images in (first, second):
        ours = lab(linear_rgb(images * 2 - 1))
        theirs = np.stack([rgb2lab(image.permute(1, 2, 0).numpy()) for image in images])
        np.testing.assert_allclose(ours.permute(0, 2, 3, 1), theirs, atol=1e-3)
        of_both.append(theirs)
    expected = deltaE_ciede2000(*of_both).mean(axis=(1, 2))
    found = colour_difference(first * 2 - 1, second * 2 - 1, sigma=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_blur_is_scipys() -> None:
    images = torch.rand(1, 2, 40, 30, dtype=torch.float64)
    expected = gaussian_filter(images[0].numpy(), (0, 3, 3), mode="nearest", truncate=4)
    np.testing.assert_allclose(gaussian_blur(images, 3)[0], expected, atol=1e-12)
    np.testing.assert_allclose(gaussian_blur(images, 3, 4)[0], expected[:, ::4, ::4], atol=1e-12)


def test_every_fourth_pixel_tells_the_mean() -> None:
    small = torch.rand(2, 3, 12, 10, dtype=torch.float64) * 2 - 1
    first, second = F.interpolate(small, (90, 64), mode="bicubic").clamp(-1, 1).split(1)
    blurred = (gaussian_blur(linear_rgb(images), 8) for images in (first, second))
    whole = ciede2000(*(lab(light) for light in blurred)).mean()
    assert colour_difference(first, second).item() == pytest.approx(whole.item(), rel=0.02)


def test_a_tint_counts_and_texture_does_not() -> None:
    images = torch.rand(1, 3, 64, 64) * 0.6 - 0.3
    tint = images + torch.tensor([0.1, 0.0, -0.1]).view(1, 3, 1, 1)
    texture = images + 0.1 * (torch.arange(64) % 2 * 2 - 1)
    assert colour_difference(images, images).item() == 0
    assert colour_difference(tint, images).item() > 3
    assert colour_difference(texture, images).item() < 1
    assert colour_difference(texture, images, sigma=0).item() > 3
