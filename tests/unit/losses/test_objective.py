"""The objective: what it is zero for, and whom it gives gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import Objective
from gan_slimming.losses.objective import discriminator_objective, student_objective
from gan_slimming.models import CartoonGenerator, PatchDiscriminator
from gan_slimming.student.student import calibrate, prepare


def l1(fake: Tensor, teacher: Tensor) -> Tensor:
    return (fake - teacher).abs().mean()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 32, 32) * 2 - 1


def test_distillation_is_zero_when_the_student_is_the_teacher(images: Tensor) -> None:
    settings = Objective(adversarial="none", adversarial_weight=0.0)
    terms = student_objective(settings, images, images.clone(), l1, None)
    assert [float(term) for term in terms] == [0.0] * 7
    other = student_objective(settings, images, -images, l1, None)
    assert float(other.total) > 0.1


def test_the_total_is_the_weighted_sum(images: Tensor) -> None:
    settings = Objective(
        adversarial="lsgan", adversarial_weight=0.5, distill_weight=3.0, pixel_weight=0.25,
        colour_weight=2.0, lattice_weight=4.0,
    )  # fmt: skip
    discriminator = PatchDiscriminator(width=2, layers=1)
    terms = student_objective(settings, images, images * 0.5, l1, discriminator)
    score = (discriminator(images) - 1).square().mean().detach()
    expected = 3 * terms.distance + 0.25 * terms.pixel + 0.5 * terms.adversarial
    expected = expected + 2 * terms.colour + 4 * terms.lattice
    assert terms.colour > 0.01
    assert terms.lattice > 0.001
    assert float(terms.total.detach()) == pytest.approx(float(expected), rel=1e-6)
    assert float(terms.adversarial) == pytest.approx(float(score))


def test_a_weight_of_zero_leaves_the_term_out(images: Tensor) -> None:
    def forbidden(fake: Tensor, teacher: Tensor) -> Tensor:
        raise AssertionError

    settings = Objective(
        distill_weight=0.0, pixel_weight=0.0, colour_weight=0.0, lattice_weight=0.0
    )
    assert float(student_objective(settings, images, -images, forbidden, None).total) == 0


def test_the_student_gets_every_gradient_and_the_teacher_none(
    tiny_cartoongan: CartoonGenerator, images: Tensor
) -> None:
    student = prepare(tiny_cartoongan, (images[:1],), bits=8).train()
    calibrate(student, [(images,)])
    teacher = tiny_cartoongan.requires_grad_(True)
    discriminator = PatchDiscriminator(width=2, layers=1)
    with torch.no_grad():
        target = teacher(images)
    student_objective(
        Objective(adversarial="lsgan"), student(images), target, l1, discriminator
    ).total.backward()
    assert [n for n, p in student.named_parameters() if p.grad is None] == []
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("term", ["pixel", "colour", "lattice"])
def test_terms_of_pixels_give_the_teacher_no_gradient(images: Tensor, term: str) -> None:
    fake, teacher = images.clone().requires_grad_(), (-images).requires_grad_()
    others: dict[str, Any] = {
        f"{name}_weight": 0.0 for name in ("distill", "pixel", "colour", "lattice")
    }
    others[f"{term}_weight"] = 1.0
    settings = Objective(**others)
    student_objective(settings, fake, teacher, l1, None).total.backward()
    assert teacher.grad is None
    assert fake.grad is not None


def test_the_discriminator_learns_to_tell_real_from_fake(images: Tensor) -> None:
    class Mean(nn.Module):
        def __init__(self, sign: float) -> None:
            super().__init__()
            self.sign = sign

        def forward(self, x: Tensor) -> Tensor:
            return self.sign * x.mean(dim=(1, 2, 3)) + 0.5

    real, fake = torch.full_like(images, 0.5), torch.full_like(images, -0.5)
    right = discriminator_objective(Objective(adversarial="lsgan"), Mean(1.0), real, fake)
    wrong = discriminator_objective(Objective(adversarial="lsgan"), Mean(-1.0), real, fake)
    assert float(right) == pytest.approx(0.0, abs=1e-12)
    assert float(wrong) == pytest.approx(1.0)


def test_every_parameter_of_the_discriminator_gets_a_gradient(images: Tensor) -> None:
    discriminator = PatchDiscriminator(width=2, layers=1)
    discriminator_objective(
        Objective(adversarial="hinge"), discriminator, images, -images
    ).backward()
    assert all(p.grad is not None for p in discriminator.parameters())
