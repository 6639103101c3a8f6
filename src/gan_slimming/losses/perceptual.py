"""Distances d between the student's and the teacher's images: the distillation term.

Images are (batch, 3, height, width), RGB in [-1, 1]; each function maps them to [0, 1] itself.
`features` is any callable from images in [0, 1] to named feature maps (batch, channels, height,
width), shallowest first. Every loss is a scalar, 0 when student and teacher are equal, and gives
the teacher no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.losses.relative_distance import relative_distance

Features = Callable[[Tensor], Mapping[str, Tensor]]
"""Images in [0, 1] -> feature maps by name."""

PAPER_GRAM_WEIGHT = 1e5
"""The paper's factor of the Gram distances, which fits the scale of VGG-16."""


def gram(features: Tensor) -> Tensor:
    """Return Gram matrices (batch, C, C) of maps (batch, C, H, W), over C*H*W (Johnson 2016).

    Computed in float32 or wider, also under autocast, because the paper multiplies their squared
    distance by 1e5. In bf16 that would be mostly rounding error.
    """
    batch, channels, height, width = features.shape
    with torch.autocast(features.device.type, enabled=False):
        flat = _wide(features).reshape(batch, channels, height * width)
        return flat @ flat.transpose(1, 2) / (channels * height * width)


def paper_perceptual(student: Tensor, teacher: Tensor, features: Features) -> Tensor:
    """Return the paper's d: L1 of the first layer + 1e5 * sum over layers of the MSE of Grams.

    GAN Slimming (Wang et al. 2020) takes relu1_2, relu2_2, relu3_3 and relu4_3 of VGG-16.
    """
    of_student, of_teacher = _both(student, teacher, features)
    content = F.l1_loss(_wide(of_student[0]), _wide(of_teacher[0]))
    pairs = zip(of_student, of_teacher, strict=True)
    style = sum((F.mse_loss(gram(s), gram(t)) for s, t in pairs), start=torch.zeros_like(content))
    return content + PAPER_GRAM_WEIGHT * style


def content_and_gram(
    student: Tensor,
    teacher: Tensor,
    features: Features,
    content_weight: float = 1.0,
    gram_weight: float = 1.0,
) -> Tensor:
    """Return the relative distance of features and Gram matrices, over layers and images.

    Mean over images and layers of content_weight * mean|f_s - f_t| / mean|f_t| + gram_weight *
    mean|G_s - G_t| / mean|G_t|. A student with zero features has a loss of content_weight +
    gram_weight.

    Deviates from the paper in two ways. All layers have a content term, to keep the image's
    structure at every scale. Distances are relative to the teacher's values, so that the weights
    fit any feature network (the paper's 1e5 fits VGG-16 only).
    """
    of_student, of_teacher = _both(student, teacher, features)
    weights = content_weight, gram_weight
    terms = [relative_distance(s, t, *weights) for s, t in zip(of_student, of_teacher, strict=True)]
    return torch.stack(terms).mean()


def multiscale_l1(student: Tensor, teacher: Tensor, scales: int = 3) -> Tensor:
    """Return the L1 of pixels and of their finite differences on a pyramid, without a network.

    Mean over `scales` levels (each half as large, by 2x2 averages) of mean|s - t| + mean|dx(s - t)|
    + mean|dy(s - t)|, pixels in [0, 1]. Levels of fewer than 2 pixels on a side are left out. It
    blurs details that the student cannot match, so prefer a perceptual loss if weights are present.
    """
    difference = (_wide(student) - _wide(teacher).detach()) / 2
    levels = []
    for scale in range(scales):
        if scale > 0:
            if min(difference.shape[-2:]) < 4:
                break
            # Averaging is linear, so the difference's pyramid is the pyramids' difference.
            difference = F.avg_pool2d(difference, 2)
        rows, columns = difference.diff(dim=-2), difference.diff(dim=-1)
        levels.append(difference.abs().mean() + rows.abs().mean() + columns.abs().mean())
    return torch.stack(levels).mean()


def _both(
    student: Tensor, teacher: Tensor, features: Features
) -> tuple[list[Tensor], list[Tensor]]:
    """Return feature maps of the student's images and, without gradient, of the teacher's."""
    of_student = list(features((student + 1) / 2).values())
    with torch.no_grad():
        of_teacher = list(features((teacher + 1) / 2).values())
    return of_student, of_teacher


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
