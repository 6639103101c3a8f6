"""Several columns at a time: the plain convolution's values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan_slimming.student.few_outputs import convolve, pays


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
