"""The lattice term in closed form, what it leaves alone, and its gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_slimming.losses.lattice import lattice_l1


def flat(side: int = 32) -> Tensor:
    return torch.zeros(2, 3, side, side)


@pytest.mark.parametrize("period", [2, 4])
def test_a_lattice_gives_its_mean_deviation(period: int) -> None:
    dotted = flat()
    dotted[..., ::period, ::period] = 0.8
    share = 1 / period**2  # of the pixels; |x - mean| is then 2 * share * (1 - share) times 0.8 / 2
    assert lattice_l1(dotted, flat()).item() == pytest.approx(0.8 * share * (1 - share))


def test_colour_and_detail_of_other_periods_are_left_alone() -> None:
    rows, columns = torch.arange(32.0).view(-1, 1), torch.arange(32.0)
    waves = torch.sin(2 * torch.pi * rows / 16) + torch.cos(2 * torch.pi * columns / 16)
    assert lattice_l1(flat() + 0.5, flat()).item() == 0
    assert lattice_l1(flat() + 0.4 * waves, flat()).item() == pytest.approx(0, abs=1e-7)


def test_opposite_lattices_of_two_areas_do_not_cancel() -> None:
    dotted = flat()
    dotted[..., :16, ::2] = 0.4
    dotted[..., 16:, 1::2] = 0.4
    assert lattice_l1(dotted, flat()).item() == pytest.approx(0.1)


def test_only_what_the_teacher_does_not_have_counts() -> None:
    images = torch.rand(2, 3, 37, 20) * 2 - 1
    assert lattice_l1(images, images.clone()).item() == 0


@pytest.mark.parametrize("side", [8, 24])
def test_the_student_alone_gets_a_gradient(side: int) -> None:
    student = (flat(side) + 0.1 * (torch.arange(side) % 2)).requires_grad_()
    teacher = flat(side).requires_grad_()
    lattice_l1(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert bool(student.grad[..., :16, 1:16:2].gt(0).all()) == (side >= 16)
    assert not student.grad[..., 16:, :].any()
