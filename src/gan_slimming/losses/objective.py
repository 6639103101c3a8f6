"""The objective, one function per player.

    min over W, gamma  max over theta
        E_y[log D(y)] + E_x[log(1 - D(G_q(x)))] + beta * E_x[d(G_q(x), G_0(x))] + rho * ||gamma||_1

Wang et al. 2020, eq. 3 to 9. The first two terms and d are losses with gradients (here); the third
is no loss at all but a proximal step after the gates' gradient step (`pruning.proximal`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_slimming.config import Objective
from gan_slimming.losses.adversarial import discriminator_loss, generator_loss
from gan_slimming.losses.perceptual import multiscale_l1

Distance = Callable[[Tensor, Tensor], Tensor]
"""(student's pictures, teacher's pictures), both (batch, 3, height, width) in [-1, 1] -> scalar."""


class GeneratorTerms(NamedTuple):
    """The student's loss and its parts, all scalars."""

    total: Tensor
    distance: Tensor
    pixel: Tensor
    adversarial: Tensor
    hidden: Tensor


def student_loss(
    settings: Objective,
    fake: Tensor,
    teacher: Tensor,
    distance: Distance,
    discriminator: nn.Module | None,
    hidden: tuple[float, Tensor] | None = None,
) -> GeneratorTerms:
    """What W and gamma minimise, without the sparsity term.

    distill_weight * d(G_q(x), G_0(x)) + pixel_weight * L1 + adversarial_weight * L_G(D(G_q(x)))
    + w * h, with w falling from hidden_weight (`hidden.HiddenTerm.weight_at`)

    The paper has the first and the third; h (`hidden`) and the L1 are additions of ours.

    Args:
        fake: G_q(x), (batch, 3, height, width) RGB in [-1, 1], with gradient.
        teacher: G_0(x), the same shape, without.
        discriminator: None leaves the adversarial term out.
        hidden: w and h; None leaves it out.
    """
    zero = fake.new_zeros((), dtype=torch.float32)
    near = distance(fake, teacher) if settings.distill_weight > 0 else zero
    pixel = zero
    if settings.pixel_weight > 0:
        pixel = multiscale_l1(fake, teacher, settings.pixel_scales)
    fooled = zero
    if discriminator is not None:
        fooled = generator_loss(settings.adversarial, discriminator(fake))
    total = (
        settings.distill_weight * near
        + settings.pixel_weight * pixel
        + settings.adversarial_weight * fooled
    )
    inside = zero
    if hidden is not None:
        total, inside = total + hidden[0] * hidden[1], hidden[1]
    return GeneratorTerms(total, near.detach(), pixel.detach(), fooled.detach(), inside.detach())


def critic_loss(
    settings: Objective, discriminator: nn.Module, real: Tensor, fake: Tensor
) -> Tensor:
    """What theta minimises: real pictures (targets, or the teacher's) against the student's.

    Args:
        real, fake: (batch, 3, height, width) RGB in [-1, 1], both without gradient.
    """
    return discriminator_loss(settings.adversarial, discriminator(real), discriminator(fake))
