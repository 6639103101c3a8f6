"""PSNR and SSIM in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from gan_slimming.errors import UserError
from gan_slimming.metrics.distances import psnr, ssim


def test_psnr_per_image_with_peak_one() -> None:
    first = torch.zeros(3, 3, 4, 4)
    second = first.clone()
    second[1] += 0.2  # 0.1 in [0, 1]
    second[2, 0] += 0.2  # one channel of three
    decibels = psnr(first, second)
    assert decibels.shape == (3,)
    assert decibels[0] == math.inf
    assert decibels[1].item() == pytest.approx(20.0, abs=1e-4)
    assert decibels[2].item() == pytest.approx(20.0 + 10 * math.log10(3), abs=1e-4)


def test_ssim_of_flat_images_is_its_luminance_term() -> None:
    # In [0, 1]: (2ab + c1) / (a^2 + b^2 + c1), c1 = 0.01^2. In [-1, 1] it would be another number.
    first, second = torch.full((1, 3, 16, 16), -0.6), torch.full((1, 3, 16, 16), 0.2)
    a, b, c1 = 0.2, 0.6, 1e-4
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    assert ssim(first, second).item() == pytest.approx(expected, rel=1e-3)


def test_ssim_per_image_is_one_when_equal_and_falls_with_noise() -> None:
    torch.manual_seed(0)
    first = torch.rand(3, 3, 24, 24) * 2 - 1
    noise = torch.randn_like(first) * torch.tensor([0.0, 0.1, 0.5]).view(3, 1, 1, 1)
    values = ssim(first, first + noise)
    assert values.shape == (3,)
    assert values[0].item() == pytest.approx(1.0)
    assert 1 > values[1] > values[2] > 0
    torch.testing.assert_close(ssim(first[1:2], (first + noise)[1:2]), values[1:2])


def test_ssim_agrees_with_scikit_image_which_leaves_borders_out() -> None:
    torch.manual_seed(0)
    first = torch.rand(3, 24, 40).cumsum(2) / 20 - 1
    second = first + torch.randn(3, 24, 40) * 0.1
    expected = structural_similarity(
        *(((image + 1) / 2).double().permute(1, 2, 0).numpy() for image in (first, second)),
        channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(first[None], second[None]).item() == pytest.approx(expected, abs=1e-5)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    small = torch.zeros(1, 3, 10, 32)
    with pytest.raises(UserError, match="at least 11x11 pixels, got 10x32"):
        ssim(small, small)
