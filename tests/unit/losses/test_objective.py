"""The objective: what it is zero for, and whom it gives gradients."""

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import Objective
from gan_slimming.losses.objective import critic_loss, student_loss
from gan_slimming.models import CartoonGenerator, PatchDiscriminator
from gan_slimming.student.student import calibrate, prepare


def l1(fake: Tensor, teacher: Tensor) -> Tensor:
    return (fake - teacher).abs().mean()


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(2, 3, 32, 32) * 2 - 1


def test_distillation_is_zero_when_the_student_is_the_teacher(pictures: Tensor) -> None:
    settings = Objective(adversarial="none", adversarial_weight=0.0)
    terms = student_loss(settings, pictures, pictures.clone(), l1, None)
    assert [float(term) for term in terms] == [0.0] * 5
    other = student_loss(settings, pictures, -pictures, l1, None)
    assert float(other.total) > 0.1


def test_the_total_is_the_weighted_sum(pictures: Tensor) -> None:
    settings = Objective(distill_weight=3.0, pixel_weight=0.25, adversarial_weight=0.5)
    critic = PatchDiscriminator(width=2, layers=1)
    terms = student_loss(settings, pictures, pictures * 0.5, l1, critic)
    score = (critic(pictures) - 1).square().mean().detach()
    expected = 3 * terms.distance + 0.25 * terms.pixel + 0.5 * terms.adversarial
    assert float(terms.total.detach()) == pytest.approx(float(expected), rel=1e-6)
    assert float(terms.adversarial) == pytest.approx(float(score))


def test_a_weight_of_zero_leaves_the_term_out(pictures: Tensor) -> None:
    def forbidden(fake: Tensor, teacher: Tensor) -> Tensor:
        raise AssertionError

    settings = Objective(distill_weight=0.0, pixel_weight=0.0)
    assert float(student_loss(settings, pictures, -pictures, forbidden, None).total) == 0


def test_the_student_gets_every_gradient_and_the_teacher_none(
    tiny_cartoongan: CartoonGenerator, pictures: Tensor
) -> None:
    student = prepare(tiny_cartoongan, (pictures[:1],), bits=8).train()
    calibrate(student, [(pictures,)])
    teacher = tiny_cartoongan.requires_grad_(True)
    critic = PatchDiscriminator(width=2, layers=1)
    with torch.no_grad():
        target = teacher(pictures)
    student_loss(Objective(), student(pictures), target, l1, critic).total.backward()
    assert [n for n, p in student.named_parameters() if p.grad is None] == []
    assert all(p.grad is None for p in teacher.parameters())


def test_the_pixel_term_gives_the_teacher_no_gradient(pictures: Tensor) -> None:
    fake, teacher = pictures.clone().requires_grad_(), (-pictures).requires_grad_()
    settings = Objective(distill_weight=0.0, pixel_weight=1.0)
    student_loss(settings, fake, teacher, l1, None).total.backward()
    assert teacher.grad is None
    assert fake.grad is not None


def test_the_critic_learns_to_tell_real_from_fake(pictures: Tensor) -> None:
    class Mean(nn.Module):
        def __init__(self, sign: float) -> None:
            super().__init__()
            self.sign = sign

        def forward(self, x: Tensor) -> Tensor:
            return self.sign * x.mean(dim=(1, 2, 3)) + 0.5

    real, fake = torch.full_like(pictures, 0.5), torch.full_like(pictures, -0.5)
    right = critic_loss(Objective(), Mean(1.0), real, fake)
    wrong = critic_loss(Objective(), Mean(-1.0), real, fake)
    assert float(right) == pytest.approx(0.0, abs=1e-12)
    assert float(wrong) == pytest.approx(1.0)


def test_every_parameter_of_the_critic_gets_a_gradient(pictures: Tensor) -> None:
    critic = PatchDiscriminator(width=2, layers=1)
    critic_loss(Objective(adversarial="hinge"), critic, pictures, -pictures).backward()
    assert all(p.grad is not None for p in critic.parameters())
