"""Rewrites are equalities, in float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gan_slimming.export.kernels.rewrites import (
    blocks_as_channels,
    lowered_sums,
    overhang,
    phases_as_channels,
    rows_as_channels,
    rows_as_inputs,
    subpixel_convolution,
    subpixel_rows,
)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    [
        (3, 2, 1, 1), (4, 2, 1, 0), (2, 2, 0, 0), (5, 2, 2, 1), (6, 3, 2, 1), (1, 2, 0, 1),
        (3, 2, 1, 0), (4, 2, 0, 0), (5, 3, 0, 0), (4, 1, 0, 0), (3, 1, 1, 0), (3, 1, 2, 0),
        (2, 3, 0, 0), (7, 4, 1, 2),
    ],
)  # fmt: skip
def test_a_transposed_convolution_is_a_convolution_and_a_shuffle(
    kernel: int, stride: int, padding: int, extra: int
) -> None:
    cells, crop = overhang(kernel, stride, padding, extra)
    weight = torch.randn(5, 3, kernel, kernel, dtype=torch.float64)
    values = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    expected = F.conv_transpose2d(
        values, weight, stride=stride, padding=padding, output_padding=extra
    )
    spread, (top, left, bottom, right) = subpixel_convolution(
        weight.numpy(), stride, (padding, padding)
    )
    padded = F.pad(values, (left, right + cells, top, bottom + cells))
    phases = F.conv2d(padded, torch.from_numpy(spread))
    # DCR has the phase as the slow axis, pixel_shuffle the channel.
    phases = phases.unflatten(1, (stride**2, 3)).transpose(1, 2).flatten(1, 2)
    made = F.pixel_shuffle(phases, stride)
    made = made[..., : made.shape[2] - crop, : made.shape[3] - crop]
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    [(8, 4, 2, 0), (4, 2, 1, 0), (3, 2, 1, 1), (16, 8, 4, 0), (2, 3, 0, 0), (5, 1, 2, 0),
     (7, 3, 2, 1)],
)  # fmt: skip
def test_a_transposed_convolution_of_signals_is_one_of_phases(
    kernel: int, stride: int, padding: int, extra: int
) -> None:
    cells, crop = overhang(kernel, stride, padding, extra)
    weight = torch.randn(5, 3, kernel, dtype=torch.float64)
    values = torch.randn(2, 5, 11, dtype=torch.float64)
    expected = F.conv_transpose1d(
        values, weight, stride=stride, padding=padding, output_padding=extra
    )
    spread, (before, behind) = phases_as_channels(weight.numpy(), stride, padding)
    phases = F.conv1d(F.pad(values, (before, behind + cells)), torch.from_numpy(spread))
    made = phases.unflatten(1, (stride, 3)).permute(0, 2, 3, 1).flatten(2)
    made = made[..., : made.shape[2] - crop]
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra", "heights"),
    [
        (3, 2, 1, 1, [1, 2]),
        (4, 2, 1, 0, [2, 2]),
        (2, 2, 0, 0, [1, 1]),
        (5, 2, 2, 1, [3, 2]),
        (6, 3, 2, 1, [2, 2, 2]),
        (1, 2, 0, 1, [1, 1]),
        (3, 4, 1, 3, [1, 1, 1, 2]),  # the last row of a cell reads the row below alone
    ],
)
def test_each_row_of_cells_has_a_convolution_of_its_own(
    kernel: int, stride: int, padding: int, extra: int, heights: list[int]
) -> None:
    weight = torch.randn(5, 3, kernel, kernel, dtype=torch.float64)
    values = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    expected = F.conv_transpose2d(
        values, weight, stride=stride, padding=padding, output_padding=extra
    )
    parts = subpixel_rows(weight.numpy(), stride, (padding, padding))
    assert [part.weight.shape[2] for part in parts] == heights
    assert min(min(part.pads) for part in parts) >= 0
    made = []
    for part, (top, left, bottom, right) in parts:
        row = F.conv2d(F.pad(values, (left, right, top, bottom)), torch.from_numpy(part))
        made.append(row.unflatten(1, (stride, 3)).permute(0, 2, 3, 4, 1).flatten(3))
    torch.testing.assert_close(torch.stack(made, 3).flatten(2, 3), expected, rtol=0, atol=1e-12)


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


@pytest.mark.parametrize(("height", "width", "multiple"), [(7, 7, 4), (3, 5, 1), (2, 3, 8)])
def test_rows_of_a_kernel_become_inputs(height: int, width: int, multiple: int) -> None:
    weight = torch.randn(6, 3, height, width, dtype=torch.float64)
    values = torch.randn(2, 3, 9, 10, dtype=torch.float64)
    stacked = rows_as_inputs(weight.numpy(), multiple)
    assert stacked.shape == (6, -(-3 * height // multiple) * multiple, 1, width)
    rows = [values[:, :, row : row + 10 - height] for row in range(height)]
    missing = stacked.shape[1] - 3 * height
    joined = F.pad(torch.cat(rows, 1), (0, 0, 0, 0, 0, missing), value=7.0)  # any, by zeros
    made = F.conv2d(joined, torch.from_numpy(stacked))
    torch.testing.assert_close(made, F.conv2d(values, weight), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("height", "width", "block"), [(7, 7, 2), (3, 5, 2), (1, 2, 3)])
def test_a_convolution_of_blocks_computes_every_pixel(height: int, width: int, block: int) -> None:
    weight = torch.randn(3, 4, height, width, dtype=torch.float64)
    values = torch.randn(2, 4, 5 + height, 11 + width, dtype=torch.float64)
    expected = F.conv2d(values, weight)
    spread = blocks_as_channels(weight.numpy(), block)
    cells = F.conv2d(values, torch.from_numpy(spread), stride=block)
    ordered = cells.unflatten(1, (block**2, 3)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(F.pixel_shuffle(ordered, block), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("low", "groups"), [(-128, 1), (-8, 1), (-128, 3)])
def test_raised_inputs_are_taken_back_by_the_sums(low: int, groups: int) -> None:
    random = np.random.default_rng(0)
    codes = random.integers(-63, 64, (6, 6 // groups, 3, 2)).astype(np.int8)
    scale, step = random.uniform(0.1, 1, 6), 0.37
    inputs = torch.from_numpy(random.integers(low, -low, (2, 6, 9, 8)) * step)
    weight = torch.from_numpy(codes * scale.reshape(-1, 1, 1, 1))
    lowered = torch.from_numpy(lowered_sums(codes, scale, low, step)).view(1, -1, 1, 1)
    raised = F.conv2d(inputs - low * step, weight, groups=groups) + lowered
    plain = F.conv2d(inputs, weight, groups=groups)
    torch.testing.assert_close(raised, plain, rtol=0, atol=1e-10)
    assert (raised - lowered - plain).abs().min() > 1e-3
