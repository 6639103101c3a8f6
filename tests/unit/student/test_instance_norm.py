"""Instance norm with channels last: torch's own, value and gradient, in the other memory format."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gan_slimming.student.instance_norm import instance_norm

LAST = torch.channels_last


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(1, 5, 6, 7), (3, 16, 8, 8)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_it_equals_torchs(shape: tuple[int, ...], affine: bool, kind: torch.dtype) -> None:
    """Outputs and all gradients; the format stays."""
    values = (3 + 2 * torch.randn(shape, dtype=kind)).to(memory_format=LAST).requires_grad_()
    weight, bias = torch.randn(2, shape[1], dtype=kind).requires_grad_().unbind()
    pair = (weight, bias) if affine else (None, None)
    made = instance_norm(values, *pair, 1e-5)
    expected = F.instance_norm(values, weight=pair[0], bias=pair[1], eps=1e-5)
    assert made.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(made, expected, atol=2e-6, rtol=1e-5)
    upstream = torch.randn(shape, dtype=kind)
    wanted = [values, *([weight, bias] if affine else [])]
    own = torch.autograd.grad(made, wanted, upstream, retain_graph=True)
    theirs = torch.autograd.grad(expected, wanted, upstream)
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_gradients_by_finite_differences() -> None:
    values = torch.randn(2, 3, 4, 4, dtype=torch.float64).to(memory_format=LAST).requires_grad_()
    weight, bias = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(
        lambda x, w, b: instance_norm(x, w, b, 1e-5), (values, weight, bias)
    )


def test_bfloat16_stays_bfloat16() -> None:
    """Statistics are in float32: the result is as near as its rounding allows."""
    values = (torch.randn(2, 8, 16, 16) * 3 + 1).to(memory_format=LAST)
    weight, bias = torch.rand(8) + 0.5, torch.randn(8)
    made = instance_norm(values.bfloat16(), weight, bias, 1e-5)
    assert made.dtype == torch.bfloat16
    expected = F.instance_norm(values, weight=weight, bias=bias, eps=1e-5)
    torch.testing.assert_close(made.float(), expected, atol=0.04, rtol=0.02)


def test_other_formats_go_to_torch() -> None:
    values = torch.randn(2, 3, 4, 4)
    assert torch.equal(instance_norm(values, None, None, 1e-5), F.instance_norm(values))
