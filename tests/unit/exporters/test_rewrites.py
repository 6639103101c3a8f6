"""Rewrites are equalities, in float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gan_slimming.exporters.rewrites import (
    blocks_as_channels,
    fits_subpixel,
    rows_as_channels,
    subpixel_convolution,
)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    [(3, 2, 1, 1), (4, 2, 1, 0), (2, 2, 0, 0), (5, 2, 2, 1), (6, 3, 2, 1), (1, 2, 0, 1)],
)
def test_a_transposed_convolution_is_a_convolution_and_a_shuffle(
    kernel: int, stride: int, padding: int, extra: int
) -> None:
    pair = ((kernel, kernel), (stride, stride), (padding, padding), (extra, extra))
    assert fits_subpixel(*pair)
    weight = torch.randn(5, 3, kernel, kernel, dtype=torch.float64)
    values = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    expected = F.conv_transpose2d(
        values, weight, stride=stride, padding=padding, output_padding=extra
    )
    spread, (top, left, bottom, right) = subpixel_convolution(
        weight.numpy(), stride, (padding, padding)
    )
    phases = F.conv2d(F.pad(values, (left, right, top, bottom)), torch.from_numpy(spread))
    # DCR has the phase as the slow axis, pixel_shuffle the channel.
    cells = phases.unflatten(1, (stride**2, 3)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(F.pixel_shuffle(cells, stride), expected, rtol=0, atol=1e-12)


def test_codes_stay_codes() -> None:
    weight = np.random.default_rng(0).integers(-127, 128, (4, 2, 3, 3)).astype(np.int8)
    spread, pads = subpixel_convolution(weight, 2, (1, 1))
    assert spread.dtype == np.int8
    assert spread.shape == (8, 4, 2, 2)
    assert pads == (0, 0, 1, 1)
    assert np.abs(spread.astype(int)).sum() == np.abs(weight.astype(int)).sum()


@pytest.mark.parametrize(("height", "width"), [(7, 7), (3, 5), (1, 3)])
def test_a_kernel_is_the_sum_of_its_rows(height: int, width: int) -> None:
    weight = torch.randn(3, 4, height, width, dtype=torch.float64)
    values = torch.randn(2, 4, 9, 10, dtype=torch.float64)
    expected = F.conv2d(values, weight)
    parts = F.conv2d(values, torch.from_numpy(rows_as_channels(weight.numpy())))
    out = expected.shape[2]
    total = sum(parts[:, 3 * r : 3 * r + 3, r : r + out] for r in range(height))
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("height", "width", "block"), [(7, 7, 2), (3, 5, 2), (1, 2, 3)])
def test_a_convolution_of_blocks_computes_every_pixel(height: int, width: int, block: int) -> None:
    weight = torch.randn(3, 4, height, width, dtype=torch.float64)
    values = torch.randn(2, 4, 5 + height, 11 + width, dtype=torch.float64)
    expected = F.conv2d(values, weight)
    spread = blocks_as_channels(weight.numpy(), block)
    cells = F.conv2d(values, torch.from_numpy(spread), stride=block)
    ordered = cells.unflatten(1, (block**2, 3)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(F.pixel_shuffle(ordered, block), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "sides", [((3, 3), (2, 2), (1, 1), (0, 0)), ((3, 4), (2, 2), (1, 1), (1, 1))]
)
def test_other_growths_are_left_alone(sides: tuple[tuple[int, int], ...]) -> None:
    assert not fits_subpixel(*sides)
    assert not fits_subpixel((2, 3), (2, 3), (0, 0), (0, 0))
