"""Several columns at a time: the plain convolution's values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from gan_slimming.graph.contexts import SharedNoise, WithoutNoise
from gan_slimming.student import few_outputs
from gan_slimming.student.few_outputs import convolve, pays
from gan_slimming.student.layers import to_slim


@pytest.mark.parametrize(("padding", "width"), [((0, 0), 14), ((3, 3), 8), ((0, 1), 12)])
def test_it_equals_the_plain_convolution(padding: tuple[int, int], width: int) -> None:
    values = torch.randn(2, 5, 9, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 5, 7, 7, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(values, weight, bias, padding=padding)
    assert expected.shape[3] % 4 == 0
    made = convolve(values, weight, bias, padding)
    torch.testing.assert_close(made, expected)
    upstream = torch.randn_like(expected)
    own = torch.autograd.grad(made, (values, weight, bias), upstream)
    theirs = torch.autograd.grad(expected, (values, weight, bias), upstream)
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_only_few_outputs_of_plain_convolutions_in_mixed_precision() -> None:
    values = torch.zeros(1, 8, 16, 22)
    last = nn.Conv2d(8, 3, 7)
    assert not pays(last, values)
    with torch.autocast("cpu", torch.bfloat16):
        assert pays(last, values)
        assert not pays(last, values[..., :-1])
        assert not pays(nn.Conv2d(8, 16, 7), values)
        assert not pays(nn.Conv2d(8, 3, 3), values)
        assert not pays(nn.Conv2d(8, 3, 7, stride=2), values)
        assert not pays(nn.Conv2d(8, 3, 7, padding=3, padding_mode="reflect"), values)


@pytest.mark.parametrize("kernel", [5, 7, 9])
@pytest.mark.parametrize("inputs", [8, 16, 24, 32])
def test_bfloat16_gives_what_float32_gives(inputs: int, kernel: int) -> None:
    """As oneDNN's kernels for AMX do not, for some of these shapes."""
    layer = nn.Conv2d(inputs, 3, kernel)
    values = torch.randn(1, inputs, 24, 19 + kernel).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = layer(values)
        with torch.autocast("cpu", torch.bfloat16):
            found = to_slim(layer)(values)
    assert float((found - expected).norm()) < 0.02 * float(expected.norm())


def test_a_cpu_that_computes_other_numbers_takes_the_plain_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, values = nn.Conv2d(8, 3, 5), torch.randn(2, 8, 20, 24)
    right = few_outputs.convolve
    with torch.autocast("cpu", torch.bfloat16):
        assert pays(layer, values)
        few_outputs.is_right.cache_clear()
        monkeypatch.setattr(few_outputs, "convolve", lambda *a, **k: 1.1 * right(*a, **k))
        assert not pays(layer, values)
    few_outputs.is_right.cache_clear()


@pytest.mark.parametrize("mode", [SharedNoise([3, 4]), WithoutNoise()])
def test_the_trial_draws_none_of_the_generators_noise(mode: TorchFunctionMode) -> None:
    layer, values = nn.Conv2d(8, 3, 5), torch.randn(2, 8, 20, 24)
    expected = SharedNoise([3, 4])
    with expected:
        first = torch.randn(2, 5)
    few_outputs.is_right.cache_clear()
    with mode, torch.autocast("cpu", torch.bfloat16):
        assert pays(layer, values)
        if isinstance(mode, SharedNoise):
            assert torch.equal(torch.randn(2, 5), first)
