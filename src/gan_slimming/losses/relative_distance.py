"""The relative distance of two feature maps and of their Gram matrices, with its gradient.

As separate operators, most of its time goes into copies: of maps to float32, to another layout for
the products, and of gradients that are added up. Here maps stay as they are, channels last.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gan_slimming.graph.fusion import Fusible

AT_ONCE = 1024
"""Places over which products are added up in the type of the maps."""


@Fusible
def _means(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean|s - t| and mean|t| of each row (batch, count), in float32 or wider."""
    kind = torch.promote_types(student.dtype, torch.float32)
    wide = teacher.to(kind)
    return (student.to(kind) - wide).abs().mean(dim=1), wide.abs().mean(dim=1)


@Fusible
def _signs(student: Tensor, teacher: Tensor, slope: Tensor) -> Tensor:
    """Return the sign of s - t times the slope of its row, as the rows' type."""
    return (student - teacher).sign_().mul_(slope)


class _RelativeDistance(torch.autograd.Function):
    """The weighted sum of both distances, mean over images; a gradient for the student's map."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, content_weight: float, gram_weight: float
    ) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            maps = [places(each) for each in (student, teacher.to(student.dtype))]
            distance, size = _means(*(each.flatten(1) for each in maps))
            of_student, of_teacher = map(products, maps)
            apart = of_student - of_teacher
            size = size.clamp_min(torch.finfo(size.dtype).eps)
            gram_size = of_teacher.abs().sum(dim=(1, 2))
            gram_size = gram_size.clamp_min(torch.finfo(size.dtype).eps * maps[0][0].numel())
            ctx.save_for_backward(*maps, apart.sign(), size, gram_size)
            ctx.weights = content_weight, gram_weight
            by_image = content_weight * distance / size
            return (by_image + gram_weight * apart.abs().sum(dim=(1, 2)) / gram_size).mean()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        student, teacher, signs, size, gram_size = ctx.saved_tensors
        batch, height, width, channels = student.shape
        content_weight, gram_weight = (weight * grads[0] / batch for weight in ctx.weights)
        slope = content_weight / size / (height * width * channels)
        rows = student.flatten(1), teacher.flatten(1)
        content = _signs(*rows, slope.to(student.dtype).view(-1, 1))
        # With G = X'X and M the signs of G - G_t, the gradient of sum|G - G_t| is X (M + M') = 2XM.
        matrix = signs * (2 * gram_weight / gram_size).view(-1, 1, 1)
        shape = batch, height * width, channels
        total = content.view(shape).baddbmm_(student.view(shape), matrix.to(student.dtype))
        return total.view(student.shape).permute(0, 3, 1, 2), None, None, None


def relative_distance(
    student: Tensor, teacher: Tensor, content_weight: float, gram_weight: float
) -> Tensor:
    """Return the weighted relative distances of two maps (batch, channels, height, width).

    content_weight * mean|s - t| / mean|t| + gram_weight * mean|G_s - G_t| / mean|G_t|, a scalar:
    the mean over images. `teacher` gets no gradient.
    """
    weights = content_weight, gram_weight
    return _RelativeDistance.apply(student, teacher.detach(), *weights)  # pyright: ignore


def places(features: Tensor) -> Tensor:
    """Return maps as (batch, height, width, channels), dense: without a copy if channels last."""
    return features.permute(0, 2, 3, 1).contiguous()


def products(maps: Tensor) -> Tensor:
    """Return the sums over all places of products of channels, (batch, channels, channels).

    Products are added up in the maps' own type over `AT_ONCE` places, rounded once, and those sums
    in float32 or wider.
    """
    batch, height, width, channels = maps.shape
    most = max(1, AT_ONCE // width)
    rows = next(n for n in range(min(most, height), 0, -1) if height % n == 0)
    parts = maps.view(batch * height // rows, rows * width, channels)
    sums = (parts.transpose(1, 2) @ parts).view(batch, -1, channels, channels)
    return sums.sum(dim=1, dtype=torch.promote_types(maps.dtype, torch.float32))
