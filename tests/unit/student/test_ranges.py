"""Ranges of quantised layers: what they can represent, what came, what was clipped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gan_slimming.quantization.fake_quant import ActivationQuantizer, WeightQuantizer
from gan_slimming.student.layers import to_slim
from gan_slimming.student.ranges import observed_ranges


def quantised(scale: float, *, signed: bool) -> nn.Module:
    """A linear layer of weights -1, 0, 0.001 and 0.5, its inputs on a grid of this step."""
    layer: Any = to_slim(nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-1.0, 0.0, 0.001, 0.5]]))
    layer.weight_quantizer = WeightQuantizer(layer.weight, 0, 7)
    layer.input_quantizer = ActivationQuantizer(8, signed=signed)
    layer.input_quantizer.scale.data.fill_(scale)
    return nn.Sequential(layer).eval()


def test_ranges_clipping_and_weights_are_told_exactly() -> None:
    module = quantised(0.01, signed=True)
    with observed_ranges(module) as ranges:
        module(torch.tensor([[-1.29, 1.26, 1.2749, 0.0]]))  # one below -1.28 by more than half
        module(torch.tensor([[1.28, 9.0, 0.5, 0.1]]))
    (found,) = ranges
    assert (found.layer, found.bits, found.weight_bits) == ("0", 8, 7)
    assert (found.low, found.high) == pytest.approx((-1.28, 1.27))
    assert (found.seen_low, found.seen_high) == pytest.approx((-1.29, 9.0))
    assert (found.clipped_low, found.clipped_high) == (1 / 8, 2 / 8)
    assert found.count == 8
    assert (found.weight_low, found.weight_high, found.weight_zeros) == (-1.0, 0.5, 0.5)


def test_an_unsigned_range_begins_at_zero() -> None:
    module = quantised(0.1, signed=False)
    with observed_ranges(module) as ranges:
        module(torch.tensor([[-3.0, 1.0, 2.0, 25.5]]))
    assert (ranges[0].low, ranges[0].high) == pytest.approx((0.0, 25.5))
    assert (ranges[0].clipped_low, ranges[0].clipped_high) == (0.25, 0.0)


def test_watching_changes_no_output_and_ends() -> None:
    module, values = quantised(0.01, signed=True), torch.randn(3, 4)
    before = module(values)
    with observed_ranges(module) as ranges:
        assert torch.equal(module(values), before)
    module(values * 100)
    assert ranges[0].count == 12
    assert not module[0].input_quantizer._forward_pre_hooks  # pyright: ignore


def test_layers_in_float_have_none() -> None:
    with observed_ranges(nn.Sequential(nn.Conv2d(3, 3, 1))) as ranges:
        pass
    assert ranges == []
