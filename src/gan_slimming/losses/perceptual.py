"""The distance d between the student's and the teacher's images: the distillation term.

Images are (batch, 3, height, width), RGB in [-1, 1]; each function maps them to [0, 1] itself.
`features` is any callable that takes images in [0, 1] and gives named feature maps (batch,
channels, height, width), shallowest first. Every loss is a scalar, 0 when student and teacher are
equal, and gives the teacher no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

Features = Callable[[Tensor], Mapping[str, Tensor]]

PAPER_GRAM_WEIGHT = 1e5
"""The paper's factor before the sum of Gram distances; tied to VGG-16's scale."""


def gram(features: Tensor) -> Tensor:
    """Gram matrices (batch, C, C) of maps (batch, C, H, W), divided by C*H*W (Johnson 2016).

    Computed in float32 or wider, also under autocast: the paper multiplies their squared distance
    by 1e5, and in bf16 that would be mostly rounding.
    """
    batch, channels, height, width = features.shape
    with torch.autocast(features.device.type, enabled=False):
        flat = _wide(features).reshape(batch, channels, height * width)
        return flat @ flat.transpose(1, 2) / (channels * height * width)


def paper_perceptual(student: Tensor, teacher: Tensor, features: Features) -> Tensor:
    """The paper's d: L1 of the first layer + 1e5 * sum over layers of MSE between Grams.

    GAN Slimming (Wang et al. 2020), with VGG-16: the layers are relu1_2, relu2_2, relu3_3, relu4_3.
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
    """Relative distance of features and of their Gram matrices, averaged over layers and images.

    Per image and layer: content_weight * mean|f_s - f_t| / mean|f_t| + gram_weight * mean|G_s -
    G_t| / mean|G_t|. Deviates from the paper in two ways: all layers carry content, so that the
    image's structure is held at every scale; and each distance is relative to the teacher's own
    size, so that the weights mean the same for any feature network (the paper's 1e5 fits VGG-16
    only). A student that gives zero features has a loss of content_weight + gram_weight.
    """
    of_student, of_teacher = _both(student, teacher, features)
    terms = [
        content_weight * _relative_l1(_wide(s), _wide(t))
        + gram_weight * _relative_l1(gram(s), gram(t))
        for s, t in zip(of_student, of_teacher, strict=True)
    ]
    return torch.stack(terms).mean()


def multiscale_l1(student: Tensor, teacher: Tensor, scales: int = 3) -> Tensor:
    """L1 of pixels and of their finite differences on a pyramid; needs no network.

    Mean over `scales` levels (each half as large, by 2x2 averages) of mean|s - t| + mean|dx(s - t)|
    + mean|dy(s - t)|, pixels in [0, 1]. Levels of fewer than 2 pixels on a side are left out. Blurs
    what it cannot match: prefer a perceptual loss where a feature network is at hand.
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
    """Feature maps of the student's and, without gradient, of the teacher's images."""
    of_student = list(features((student + 1) / 2).values())
    with torch.no_grad():
        of_teacher = list(features((teacher + 1) / 2).values())
    return of_student, of_teacher


def _relative_l1(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over the batch of mean|s - t| / mean|t|, each mean over one image's entries."""
    distance = (student - teacher).abs().flatten(1).mean(dim=1)
    size = teacher.abs().flatten(1).mean(dim=1)
    return (distance / size.clamp_min(torch.finfo(size.dtype).eps)).mean()


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
