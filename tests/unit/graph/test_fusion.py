"""Functions that torch.compile fuses give what they give as written."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from gan_slimming.graph import fusion
from gan_slimming.graph.fusion import (
    Fusible,
    flat,
    flat_as,
    fusing,
    laid_out_as,
    missing_for_fusion,
    vectors_as,
)
from gan_slimming.metrics.complexity import count
from gan_slimming.perceptual.unit_distance import unit_distance
from gan_slimming.quantization.fake_quant import ActivationQuantizer

LAST = torch.channels_last


@pytest.fixture(scope="module")
def compiler() -> None:
    if missing := missing_for_fusion():
        pytest.skip(f"no C++ compiler works here: {missing}")


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4, 5), (2, 1, 4, 4), (1, 3, 1, 1)])
@pytest.mark.parametrize("last", [False, True])
def test_a_tensor_comes_back_from_its_flat_values(shape: tuple[int, ...], last: bool) -> None:
    values = torch.randn(shape)
    if last and len(shape) == 4:
        values = values.contiguous(memory_format=LAST)
    back = laid_out_as(values, flat(values))
    assert torch.equal(back, values)
    assert back.stride() == values.stride()
    assert flat(values).data_ptr() == values.data_ptr()


def test_another_layout_is_brought_to_the_same_order() -> None:
    like = torch.randn(2, 3, 4, 5).contiguous(memory_format=LAST)
    other = like.contiguous()
    assert torch.equal(flat_as(like, other), flat(like))
    assert torch.equal(laid_out_as(other, vectors_as(other, like)), like)
    assert vectors_as(like, other).shape == (2 * 4 * 5, 3)
    assert torch.equal(laid_out_as(like, vectors_as(like, other)), like)


def quantised(values: Tensor, bits: int, signed: bool) -> tuple[Tensor, ...]:
    """Images, and gradients of values and scale, of a quantiser whose range clips some."""
    quantizer = ActivationQuantizer(bits, signed=signed)
    quantizer.scale.data.fill_(2.0 / quantizer.codes[1])
    values = values.clone(memory_format=torch.preserve_format).requires_grad_()
    result = quantizer(values)
    (result * torch.linspace(-1, 1, result.numel()).view(result.shape)).sum().backward()
    assert values.grad is not None
    assert quantizer.scale.grad is not None
    return result.detach(), values.grad, quantizer.scale.grad


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("bits", "signed"), [(8, True), (8, False), (4, True)])
def test_fused_quantisation_is_the_same(bits: int, signed: bool, last: bool) -> None:
    for side in (9, 16):  # one code for all sizes
        values = torch.randn(2, 5, side, side)
        values = values.contiguous(memory_format=LAST) if last else values
        plain = quantised(values, bits, signed)
        with fusing():
            fused = quantised(values, bits, signed)
        for one, other in zip(plain, fused, strict=True):
            torch.testing.assert_close(one, other)
        assert fused[0].stride() == plain[0].stride()


@pytest.mark.usefixtures("compiler")
def test_fused_quantisation_in_bfloat16_is_nearer_to_that_in_float64() -> None:
    values = (2 * torch.randn(4, 8, 32, 32)).bfloat16()
    exact = quantised(values.double(), 8, signed=True)[2]
    plain = quantised(values, 8, signed=True)[2]
    with fusing():
        fused = quantised(values, 8, signed=True)[2]
    assert abs(fused - exact) < 0.02 * abs(exact)
    assert abs(plain - exact) < 0.1 * abs(exact)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_the_fused_distance_is_the_same(learns: bool, last: bool) -> None:
    first, second = torch.randn(2, 2, 6, 9, 7).relu()
    first[:, :, 0] = 0  # dead vectors
    if last:
        first = first.contiguous(memory_format=LAST)
    weight = torch.rand(1, 6, 1, 1)

    def measured() -> list[Tensor]:
        given = first.clone(memory_format=torch.preserve_format).requires_grad_(learns)
        distance = unit_distance(given, second, weight)
        if not learns:
            return [distance]
        (distance * torch.tensor([1.0, 3.0])).sum().backward()
        assert given.grad is not None
        return [distance.detach(), given.grad]

    plain = measured()
    with fusing():
        fused = measured()
    for one, other in zip(plain, fused, strict=True):
        torch.testing.assert_close(one, other)


def test_compiled_code_runs_inside_of_fusing_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: compiled.append(1) or function)
    doubled = Fusible(lambda values: 2 * values)
    doubled(torch.ones(2))
    assert not compiled
    with fusing():
        assert torch.equal(doubled(torch.ones(2)), torch.full((2,), 2.0))
        doubled(torch.ones(3))
        with fusing(False):
            doubled(torch.ones(2))
    doubled(torch.ones(2))
    assert compiled == [1]


@pytest.mark.usefixtures("compiler")
def test_multiplications_are_counted_meanwhile() -> None:
    layer = torch.nn.Sequential(ActivationQuantizer(8), torch.nn.Conv2d(3, 4, 3))
    plain = count(layer, (torch.zeros(1, 3, 8, 8),)).macs
    with fusing():
        assert count(layer, (torch.zeros(1, 3, 8, 8),)).macs == plain > 0


def test_without_a_compiler_the_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no compiler")

    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setattr(fusion._trial, "_compiled", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert missing_for_fusion() == "OSError"
    assert not fusion._Switch.on
