"""The relative distance of maps and Gram matrices equals its definition, gradient included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_slimming.losses.relative_distance import places, products, relative_distance

LAST = torch.channels_last


def defined(student: Tensor, teacher: Tensor, content: float, style: float) -> Tensor:
    """Return the distance by its definition, one operator after the other."""

    def gram(maps: Tensor) -> Tensor:
        flat = maps.flatten(2)
        return flat @ flat.transpose(1, 2)

    def relative(ours: Tensor, theirs: Tensor) -> Tensor:
        return (ours - theirs).abs().flatten(1).mean(1) / theirs.abs().flatten(1).mean(1)

    by_image = content * relative(student, teacher) + style * relative(gram(student), gram(teacher))
    return by_image.mean()


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (1, 3, 1, 1), (3, 4, 48, 40)])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 2.0)])
def test_value_and_gradient_are_those_of_the_definition(
    shape: tuple[int, ...], weights: tuple[float, float], last: bool
) -> None:
    student, teacher = torch.randn(2, *shape, dtype=torch.float64)
    if last:
        student = student.contiguous(memory_format=LAST)
    found = []
    for function in (relative_distance, defined):
        given = student.clone(memory_format=torch.preserve_format).requires_grad_()
        value = function(given, teacher, *weights)
        (3 * value).backward()
        found.append((value.detach(), given.grad))
    torch.testing.assert_close(found[0], found[1])


def test_bfloat16_is_near_float64() -> None:
    student, teacher = torch.randn(2, 2, 16, 64, 64).relu().bfloat16()
    exact = defined(student.double(), teacher.double(), 1.0, 1.0)
    assert relative_distance(student, teacher, 1.0, 1.0).dtype == torch.float32
    assert float(relative_distance(student, teacher, 1.0, 1.0)) == pytest.approx(
        float(exact), rel=0.01
    )
    gram = products(places(student))
    reference = products(places(student.double()))
    assert float((gram - reference).abs().sum() / reference.abs().sum()) < 1e-3


def test_equal_maps_have_no_distance_and_maps_of_zeros_no_infinite_one() -> None:
    maps = torch.randn(2, 3, 8, 8)
    assert float(relative_distance(maps, maps, 1.0, 1.0)) == 0
    zeros = torch.zeros(2, 3, 8, 8, requires_grad=True)
    value = relative_distance(zeros, torch.zeros(2, 3, 8, 8), 1.0, 1.0)
    value.backward()
    assert float(value.detach()) == 0
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


def test_autocast_does_not_round_float32_maps() -> None:
    student, teacher = torch.randn(2, 1, 8, 16, 16)
    plain = relative_distance(student, teacher, 1.0, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(relative_distance(student, teacher, 1.0, 1.0), plain)
