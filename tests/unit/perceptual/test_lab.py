"""L*a*b* of greys, against scikit-image, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from gan_slimming.perceptual.lab import lab, linear_rgb


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_grey_is_grey(value: float) -> None:
    found = lab(linear_rgb(torch.full((1, 3, 1, 1), value))).flatten()
    assert found[1:].abs().max() < 0.02
    assert -1e-6 <= found[0] <= 100 + 1e-4


def test_it_equals_scikit_image() -> None:
    images = torch.rand(2, 3, 8, 9, dtype=torch.float64)
    expected = np.stack([rgb2lab(image.permute(1, 2, 0).numpy()) for image in images])
    found = lab(linear_rgb(images * 2 - 1)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_black_has_a_gradient() -> None:
    images = torch.full((1, 3, 2, 2), -1.0, requires_grad=True)
    lab(linear_rgb(images))[:, 0].sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert images.grad.sum() > 0
