"""The objective, one function per player.

    min over W, gamma  max over theta
        E_y[log D(y)] + E_x[log(1 - D(G_q(x)))] + beta * E_x[d(G_q(x), G_0(x))] + rho * ||gamma||_1

Wang et al. 2020, eq. 3 to 9. The first two terms and d are losses with gradients (here); the third
is no loss but a proximal step after the gates' gradient step (`pruning.proximal`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_slimming.config import Objective
from gan_slimming.losses.adversarial import discriminator_loss, generator_loss
from gan_slimming.losses.colour import area_colour
from gan_slimming.losses.lattice import lattice_l1
from gan_slimming.losses.perceptual import multiscale_l1

Distance = Callable[[Tensor, Tensor], Tensor]
"""(student's images, teacher's images), both (batch, 3, height, width) in [-1, 1] -> scalar."""


class GeneratorTerms(NamedTuple):
    """The student's loss and its terms, all scalars."""

    total: Tensor
    distance: Tensor
    pixel: Tensor
    colour: Tensor
    lattice: Tensor
    adversarial: Tensor
    features: Tensor


def student_objective(
    settings: Objective,
    fake: Tensor,
    teacher: Tensor,
    distance: Distance,
    discriminator: nn.Module | None,
    features: tuple[float, Tensor] | None = None,
) -> GeneratorTerms:
    """Return the loss of W and gamma, without the sparsity term.

    distill_weight * d(G_q(x), G_0(x)) + adversarial_weight * L_G(D(G_q(x)))
    + pixel_weight * L1 + colour_weight * areas + lattice_weight * dots
    + w * h, where w falls from feature_distillation_weight (`FeatureDistillation`)

    The paper has the first two; the others are additions of ours.

    Args:
        fake: G_q(x), (batch, 3, height, width) RGB in [-1, 1], with gradient.
        teacher: G_0(x), the same shape, without.
        discriminator: None leaves the adversarial term out.
        features: w and h; None leaves it out.
    """
    total = zero = fake.new_zeros((), dtype=torch.float32)
    terms = dict.fromkeys(GeneratorTerms._fields, zero)

    def add(name: str, weight: float, term: Callable[[], Tensor]) -> None:
        nonlocal total
        if weight > 0:
            value = term()
            total, terms[name] = total + weight * value, value.detach()

    s = settings
    add("distance", s.distill_weight, lambda: distance(fake, teacher))
    add("pixel", s.pixel_weight, lambda: multiscale_l1(fake, teacher, s.pixel_scales))
    add("colour", s.colour_weight, lambda: area_colour(fake, teacher))
    add("lattice", s.lattice_weight, lambda: lattice_l1(fake, teacher))
    if discriminator is not None:
        fooled = generator_loss(s.adversarial, discriminator(fake))
        add("adversarial", s.adversarial_weight, lambda: fooled)
    if features is not None:
        add("features", features[0], lambda: features[1])
    return GeneratorTerms(**terms | {"total": total})


def discriminator_objective(
    settings: Objective, discriminator: nn.Module, real: Tensor, fake: Tensor
) -> Tensor:
    """Return the loss of theta: real images (targets, or the teacher's) against the student's.

    Args:
        real, fake: (batch, 3, height, width) RGB in [-1, 1], both without gradient.
    """
    return discriminator_loss(settings.adversarial, discriminator(real), discriminator(fake))
