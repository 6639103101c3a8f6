"""Codes, levels and scales, as pure mathematics."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gan_slimming.quantization.affine import (
    along,
    code_range,
    dequantize,
    quantize,
    weight_scale,
)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", range(2, 17))
def test_a_range_has_exactly_two_to_the_bits_levels(bits: int, signed: bool) -> None:
    low, high = code_range(bits, signed=signed)
    assert high - low + 1 == 2**bits
    assert (low < 0) == signed


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.integers(2, 8), st.booleans(), st.floats(1e-3, 10), st.integers(0, 2**30))
def test_codes_are_whole_and_within_their_range(
    bits: int, signed: bool, scale: float, seed: int
) -> None:
    low, high = code_range(bits, signed=signed)
    values = 20 * torch.randn(500, generator=torch.Generator().manual_seed(seed))
    codes = quantize(values, scale, low, high)
    assert torch.equal(codes, codes.round())
    assert low <= float(codes.min())
    assert float(codes.max()) <= high
    inside = (values > (low - 0.5) * scale) & (values < (high + 0.5) * scale)
    error = (dequantize(codes, scale) - values).abs()[inside]
    assert bool((error <= scale * 0.5001).all())


def test_ties_go_to_even() -> None:
    codes = quantize(torch.tensor([0.5, 1.5, 2.5, -0.5]), 1.0, -8, 7)
    assert codes.tolist() == [0.0, 2.0, 2.0, 0.0]


@pytest.mark.parametrize(("axis", "shape"), [(0, (5, 3, 2, 2)), (1, (3, 5, 2, 2)), (0, (5, 7))])
def test_the_weight_scale_puts_each_channels_largest_weight_on_the_last_code(
    axis: int, shape: tuple[int, ...]
) -> None:
    weight = torch.randn(shape)
    scale = weight_scale(weight, axis, 8)
    codes = quantize(weight, along(scale, axis, weight.dim()), -127, 127)
    assert scale.shape == (5,)
    assert codes.abs().transpose(0, axis).flatten(1).amax(dim=1).tolist() == [127.0] * 5


def test_a_channel_of_zeros_has_a_positive_scale() -> None:
    scale = weight_scale(torch.zeros(2, 3), 0, 8)
    assert bool((scale > 0).all())
    assert torch.equal(
        quantize(torch.zeros(2, 3), along(scale, 0, 2), -127, 127), torch.zeros(2, 3)
    )


def test_along_broadcasts_on_its_axis() -> None:
    assert along(torch.ones(4), 1, 4).shape == (1, 4, 1, 1)


def test_one_weight_per_channel_is_its_own_scale() -> None:
    assert weight_scale(torch.tensor([-7.0, 0.7]), 0, 4).tolist() == pytest.approx([1.0, 0.1])
