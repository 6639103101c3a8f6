"""The colour term: its unit, what it sees and what it does not, and its gradient."""

from __future__ import annotations

import pytest
import torch
from skimage.color import rgb2lab
from torch import Tensor

from gan_slimming.losses.colour import area_colour


def grey(value: float, side: int = 32) -> Tensor:
    return torch.full((1, 3, side, side), value)


@pytest.mark.parametrize("side", [8, 16, 40])
def test_white_to_black_is_one(side: int) -> None:
    assert area_colour(grey(1, side), grey(-1, side)).item() == pytest.approx(1, abs=1e-3)


def test_a_tint_counts_by_chroma_and_lightness() -> None:
    tinted = torch.tensor([0.5, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    lightness, a, b = rgb2lab([0.75, 0.5, 0.5]) - rgb2lab([0.5, 0.5, 0.5])
    expected = (lightness + (a**2 + b**2) ** 0.5) / 100
    assert area_colour(tinted, grey(0, 16)).item() == pytest.approx(expected, abs=2e-3)


def test_texture_of_an_area_is_not_seen() -> None:
    texture = grey(0.2) + 0.1 * (torch.arange(32) % 2 * 2 - 1)
    assert area_colour(texture, grey(0.2)).item() == pytest.approx(0, abs=1e-5)


def test_equal_images_give_zero_and_no_gradient() -> None:
    images = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    loss = area_colour(images, images.detach().clone())
    loss.backward()
    assert loss.item() == 0
    assert images.grad is not None
    assert not images.grad.any()


@pytest.mark.parametrize("start", [-1.0, -0.5, 1.0])
def test_the_student_is_drawn_to_the_teacher(start: float) -> None:
    student, teacher = grey(start).requires_grad_(), grey(0.2).requires_grad_()
    area_colour(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert bool((student.grad.sum() * (start - 0.2) > 0) & student.grad.isfinite().all())
