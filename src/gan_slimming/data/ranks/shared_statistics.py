"""Statistics of a batch that lies on several processes, as one process would take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gan_slimming.data.ranks.collectives import all_reduced
from gan_slimming.data.ranks.launch import alone, count

_shared = [False]
"""Whether `sharing_statistics` is under way."""


@contextmanager
def sharing_statistics() -> Iterator[None]:
    """Let batch norms and scales of outputs see the whole batch while all processes compute."""
    if alone():
        yield
        return
    _shared[0] = True
    try:
        with _SharedBatchNorm():
            yield
    finally:
        _shared[0] = False


def largest_of_batch(values: Tensor) -> Tensor:
    """Return the largest values over the whole batch, of those over this process's share."""
    return all_reduced(values, dist.ReduceOp.MAX) if _shared[0] else values


def variances_of_batch(shares: Sequence[Tensor]) -> list[Tensor]:
    """Return the variance over the whole batch of each of several tensors, without gradient.

    Args:
        shares: this process's, as large as the others'.
    """
    spreads = [values.float().var(correction=0) for values in shares]
    if alone() or not shares:
        return spreads
    inner = torch.stack(spreads).double()
    means = torch.stack([values.float().mean() for values in shares]).double()
    moments = all_reduced(torch.stack([means, inner + means.square()])) / count()
    return list((moments[1] - moments[0].square()).clamp_min(0).float())


class _SharedBatchNorm(TorchFunctionMode):
    """A mode in which batch norms in training take mean and variance over all processes.

    torch.nn.SyncBatchNorm does so on GPUs alone, and would be another module to prune.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return (_batch_norm if func is F.batch_norm else func)(*args, **kwargs)


def _batch_norm(
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Compute torch.nn.functional.batch_norm over the shares of all processes."""
    if not training:
        return F.batch_norm(
            values, running_mean, running_var, weight, bias, training, momentum, eps
        )
    axes = [axis for axis in range(values.dim()) if axis != 1]
    shape = [1, -1, *[1] * (values.dim() - 2)]
    wide = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
    mean = _Mean.apply(wide.mean(axes))
    centred = wide - mean.view(shape)  # pyright: ignore
    variance: Any = _Mean.apply(centred.square().mean(axes))
    number = count() * values.numel() // values.shape[1]
    for running, now in ((running_mean, mean), (running_var, variance * number / (number - 1))):
        if running is not None:
            running.lerp_(now.detach().to(running.dtype), momentum)  # pyright: ignore
    made = centred * (variance + eps).rsqrt().view(shape)
    made = made if weight is None else made * weight.view(shape)
    made = made if bias is None else made + bias.view(shape)
    return made.to(values.dtype)


class _Mean(torch.autograd.Function):
    """The mean of a tensor over the processes; its gradient is that of all their losses' sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return all_reduced(values.clone()).div_(count())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return all_reduced(grads[0].clone(memory_format=torch.contiguous_format)).div_(count())
