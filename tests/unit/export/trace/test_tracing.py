"""Which numbers follow the size, and what cannot follow it: refused by its name and place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.export.trace import tracing
from gan_slimming.export.trace.graph import arguments_of, trace
from gan_slimming.export.trace.tracing import Side, expression, sides_of

CONTRACT = InputContract(multiple_of=4)


class Named(nn.Module):
    """One call, in a module of its own."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, x: Tensor) -> Tensor:
        return self.operation(x)


def traced(operation: Callable[[Tensor], Tensor], contract: InputContract = CONTRACT) -> Any:
    return trace(nn.Sequential(Named(operation)), contract, 32, quantized=False)


def test_sides_are_fixed_or_follow() -> None:
    node = traced(lambda x: F.avg_pool2d(x, 2).repeat(1, 2, 1, 1)).result
    assert sides_of(node) == (Side(1, 2), Side(6, 6), Side(16, 34), Side(16, 50))
    assert [side.fixed for side in sides_of(node)] == [False, True, False, False]


def test_numbers_become_expressions_of_the_inputs_sides() -> None:
    found = traced(lambda x: F.interpolate(x, size=(x.shape[2] // 3, 7)))
    source, node = sides_of(found.sources["input"]), found.result
    height, width = arguments_of(node)["output_size"]
    assert width == 7
    assert str(expression(height)) == f"({expression(source[2].symbol)}//3)"
    assert sides_of(node)[3].fixed


def test_a_generator_whose_numbers_are_its_own_is_traced_without_symbols(
    monkeypatch: pytest.MonkeyPatch, tiny_cartoongan: nn.Module
) -> None:
    seen: list[bool] = []
    export = tracing.export

    def watched(module: nn.Module, shapes: Any, *, symbols: bool = False) -> Any:
        seen.append(symbols)
        return export(module, shapes, symbols=symbols)

    monkeypatch.setattr(tracing, "export", watched)
    trace(tiny_cartoongan, CONTRACT, 32, quantized=False)
    assert seen == [False, False]
    traced(lambda x: x.flatten(2).view(x.shape))
    assert seen == [False, False, False, False, True]


def test_a_number_that_agrees_by_chance_is_followed_all_the_same() -> None:
    """32, 68 and 100 leave the same, divided by 4; 32 and 100 by 17 as well."""
    found = traced(lambda x: F.pad(x, (0, x.shape[3] % 17, 0, x.shape[2] % 5, 0, 0)))
    columns, rows = (arguments_of(found.result)["pad"][place] for place in (1, 3))
    assert not isinstance(rows, int)
    assert not isinstance(columns, int)


def test_odd_sizes_are_tried_where_the_contract_allows_them() -> None:
    def halved(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) * 2

    def restored(x: Tensor) -> Tensor:
        return x + F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)

    any_size = InputContract()
    assert sides_of(traced(halved, any_size).sources["input"])[2] == Side(32, 65)
    assert sides_of(traced(restored, any_size).sources["input"])[2] == Side(32, 66)


def changed(x: Tensor) -> Tensor:
    x = x * 2
    x[:, 0].mul_(3)
    return x


def viewed_before(x: Tensor) -> Tensor:
    x = x * 2
    part = x[:, :1]
    x.relu_()
    return x + part


def counted(x: Tensor) -> Tensor:
    return x * torch.tensor([float(x.shape[3])])


def frozen_length(x: Tensor) -> Tensor:
    return F.interpolate(x, size=(int(x.shape[2] * 1.5), 8))


def frozen_number(x: Tensor) -> Tensor:
    return x / x.shape[3] ** 0.5 * int(x.shape[2] / 3)


FROZEN = "takes a number of the image's size that tracing froze; compute it from x.shape with"
OTHERWISE = "is not called in the same way at every size of the image; do the same at each"
WRITTEN = (
    "writes into a value that is read elsewhere; make a new one, with torch.cat or torch.where"
)


@pytest.mark.parametrize(
    ("operation", "operator", "text"),
    [
        (frozen_length, "upsample_nearest2d", FROZEN),
        (frozen_number, "mul", FROZEN),
        (counted, "lift_fresh_copy", FROZEN),
        (lambda x: x + 1 if x.shape[2] > 40 else x * 2, "mul", OTHERWISE),
        (lambda x: (x + 1, x * 2)[x.shape[2] > 40] + x, "add", OTHERWISE),
        (lambda x: x.squeeze(0).relu(), "squeeze", "drops an axis at one batch and keeps it at"),
        (changed, "mul_", WRITTEN),
        (viewed_before, "relu_", WRITTEN),
    ],
)
def test_what_cannot_follow_is_refused_by_name(operation: Any, operator: str, text: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"operator '{operator}' in module '0' {text}")):
        traced(operation)


def test_a_write_that_nobody_else_reads_is_none() -> None:
    def gated(x: Tensor) -> Tensor:
        return F.relu_(F.leaky_relu_((x * 2).flatten(2), 0.2)).unflatten(2, x.shape[2:])

    assert len(traced(gated).nodes) == 5


def drawn(operation: Callable[[Tensor], Tensor], *, noise: bool = True) -> list[np.ndarray]:
    """Return what a file makes of zeros, in two runs."""
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")
    from gan_slimming.export.onnx import onnx_model
    from gan_slimming.export.parity import START

    model, _ = onnx_model(traced(operation), "none", 17, {}, noise=noise)
    run = START["onnxruntime"](model.SerializeToString(), 1)[0]
    return [run(np.zeros((1, 3, 32, 40), np.float32)) for _ in range(2)]


@pytest.mark.parametrize(
    ("operation", "mean", "spread"),
    [
        (lambda x: x + torch.randn(x.shape[0], 1, *x.shape[2:]), 0.0, 1.0),
        (lambda x: x + 2 * torch.randn_like(x), 0.0, 2.0),
        (lambda x: x + torch.rand(x.shape), 0.5, 12**-0.5),
        (lambda x: x + x.new_empty(x.shape[0], 1, *x.shape[2:]).normal_(), 0.0, 1.0),
    ],
)
def test_noise_is_not_frozen_into_the_file(
    operation: Callable[[Tensor], Tensor], mean: float, spread: float
) -> None:
    first, second = drawn(operation)
    assert not np.allclose(first, second)
    for made in (first, second):
        assert made.mean() == pytest.approx(mean, abs=0.5 * spread)
        assert made.std() == pytest.approx(spread, rel=0.3)
    assert all(not found.any() for found in drawn(operation, noise=False))


def test_noise_of_a_fixed_shape_is_not_frozen_either() -> None:
    first, second = drawn(lambda x: x + torch.randn(3, 1, 1))
    assert not np.allclose(first, second)


def test_noise_that_the_contract_fixes_is_the_forwards_own() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from gan_slimming.export.onnx import onnx_model
    from gan_slimming.export.parity import START

    contract = InputContract(size=32, fixed_noise=True)
    fixed = traced(lambda x: x + torch.randn(1, 1, 32, 32), contract)
    assert (fixed.noisy, fixed.random is not None) == (False, True)
    model, _ = onnx_model(fixed, "none", 17, {})
    run = START["onnxruntime"](model.SerializeToString(), 1)[0]
    expected = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)).numpy()
    for _ in range(2):
        made = run(np.zeros((1, 3, 32, 32), np.float32))
        np.testing.assert_allclose(made, np.broadcast_to(expected, made.shape), atol=1e-6)
