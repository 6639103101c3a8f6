"""LPIPS's distance of two maps: the formula as it is written, value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_slimming.perceptual.unit_distance import EPSILON, unit_distance


def as_written(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    def unit(values: Tensor) -> Tensor:
        lengths = values.square().sum(dim=1, keepdim=True).clamp_min(EPSILON**2).sqrt()
        return values / (lengths + EPSILON)

    difference = (unit(first) - unit(second)).square() * weight
    return difference.sum(dim=1).mean(dim=(1, 2))


@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_it_equals_the_formula(format: torch.memory_format) -> None:
    """Also where a vector is zero, as behind ReLU."""
    first = torch.randn(2, 6, 5, 4, dtype=torch.float64).relu()
    first[0, :, 1, 2] = 0
    first = first.contiguous(memory_format=format).requires_grad_()
    second = torch.randn(2, 6, 5, 4, dtype=torch.float64).relu()
    second[1, :, 0, 0] = 0
    weight = torch.rand(1, 6, 1, 1, dtype=torch.float64)
    made, expected = (f(first, second, weight) for f in (unit_distance, as_written))
    torch.testing.assert_close(made, expected, atol=1e-14, rtol=1e-12)
    upstream = torch.randn(2, dtype=torch.float64)
    (own,) = torch.autograd.grad(made, first, upstream)
    (theirs,) = torch.autograd.grad(expected, first, upstream)
    alive = (first != 0).any(dim=1, keepdim=True)
    torch.testing.assert_close(own * alive, theirs * alive, atol=1e-13, rtol=1e-9)
    assert bool(own.isfinite().all())


def test_equal_maps_are_at_distance_zero_whatever_their_length() -> None:
    maps = torch.rand(1, 4, 3, 3)
    assert float(unit_distance(maps, maps, torch.ones(1, 4, 1, 1))) == 0
    assert float(unit_distance(3 * maps, maps, torch.ones(1, 4, 1, 1))) < 1e-12


def test_bfloat16_maps_are_measured_in_float32() -> None:
    first, second = torch.rand(2, 1, 8, 4, 4).bfloat16().unbind()
    weight = torch.rand(1, 8, 1, 1)
    made = unit_distance(first, second, weight)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, as_written(first.float(), second.float(), weight))
