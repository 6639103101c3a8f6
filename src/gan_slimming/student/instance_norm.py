"""Instance normalisation that leaves the memory format as it is.

Convolutions of few channels are a third faster with channels last. torch's instance norm copies
such a tensor to the other format and leaves it there, so that every layer behind it copies again.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _ChannelsLastNorm(torch.autograd.Function):
    """A group norm forward, one group a channel; backward the batch norm of each image alone.

    Both compute instance norm. The group norm's own backward is slow with channels last.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        batch, channels, height, width = values.shape
        area = height * width
        result, mean, deviation = torch.native_group_norm(
            values, weight, bias, batch, channels, area, channels, eps
        )
        ctx.save_for_backward(values, weight, mean, deviation)
        ctx.eps = eps
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        values, weight, mean, deviation = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        needed = [bool(ctx.needs_input_grad[0]), True, True]
        rows = [
            torch.ops.aten.native_batch_norm_backward(
                grad[k : k + 1], values[k : k + 1], weight, None, None,
                mean[k].to(weight.dtype), deviation[k].to(weight.dtype), True, ctx.eps, needed,
            )
            for k in range(len(values))
        ]  # fmt: skip
        of_values, of_weight, of_bias = zip(*rows, strict=True)
        total = torch.cat(of_values) if needed[0] else None
        return total, torch.stack(of_weight).sum(0), torch.stack(of_bias).sum(0), None


def instance_norm(values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return weight * (x - mean) / sqrt(variance + eps) + bias, each image and channel for itself.

    Args:
        values: (batch, channels, height, width); with channels last the result has them last, too.
        weight, bias: (channels,), or None for 1 and 0.
    """
    last = values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
    if not last or values.is_contiguous() or values.device.type != "cpu":
        return F.instance_norm(values, weight=weight, bias=bias, eps=eps)
    if values.shape[2] * values.shape[3] < 2:
        return F.instance_norm(values, weight=weight, bias=bias, eps=eps)  # which refuses it
    kind = values.dtype if values.dtype == torch.float64 else torch.float32
    channels = values.shape[1]
    scale = values.new_ones(channels, dtype=kind) if weight is None else weight.to(kind)
    shift = values.new_zeros(channels, dtype=kind) if bias is None else bias.to(kind)
    return _ChannelsLastNorm.apply(values, scale, shift, eps)  # pyright: ignore
