"""Random parameters, inputs and all outputs of a module, to compare two of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

SMALL = 64
"""Pixels per side to which images are halved for the test."""


@torch.no_grad()
def randomised(module: nn.Module) -> nn.Module:
    """Randomise all parameters, in place, so that nothing is zero or agrees by chance."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.is_floating_point():
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5
            spread = parameter.detach().double().std(correction=0).clamp_min(0.1)
            noise = noise * spread * torch.where(noise > 1, 1.0, -1.0)
            parameter.copy_(parameter * 0.5 + noise.to(parameter))
    return module


def drawn(value: Any, dtype: torch.dtype, low: float, small: bool) -> Any:
    """Draw random numbers from `low` to 1 in a tensor's shape, with sides near 64 if `small`."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    shape = list(value.shape)
    for axis in range(2, len(shape)) if small else ():
        while shape[axis] > SMALL and shape[axis] % 2 == 0:
            shape[axis] //= 2
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(shape, generator=generator, dtype=torch.float64) * (1 - low) + low
    return noise.to(value.device, dtype)


def tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)
