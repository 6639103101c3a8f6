"""A generator that runs as its contract says: an output, statistics, noise, dropout."""

from __future__ import annotations

from contextlib import nullcontext
from functools import wraps
from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.models.dropout import WithoutDropout

INSTANCE: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: nn.InstanceNorm1d,
    nn.BatchNorm2d: nn.InstanceNorm2d,
    nn.BatchNorm3d: nn.InstanceNorm3d,
}
"""Norm over a batch -> the norm that it is for a batch of one image."""


def as_declared(module: nn.Module, contract: InputContract) -> None:
    """Let a module run as a contract says, in place; nothing changes where it does so already.

    Its class becomes a subclass of its own, where the contract names an output, fixes the noise or
    switches dropout off.
    """
    if contract.statistics == "image":
        for layer in module.modules():
            if type(layer) in INSTANCE:
                _of_the_image(layer)
    base: Any = type(module)
    declared = output, fixed, dropout = contract.output, contract.fixed_noise, contract.dropout
    if base.__dict__.get("declared") == declared or not any(declared):
        return
    if "declared" in base.__dict__:  # by another contract
        (base,) = base.__bases__

    @wraps(base.forward)  # torch.export reads its names of inputs
    def forward(layer: nn.Module, *inputs: Any, **named: Any) -> Any:
        off = WithoutDropout() if dropout == "off" else nullcontext()
        with torch.random.fork_rng(devices=[], enabled=fixed), off:
            if fixed:
                torch.manual_seed(0)
            made = base.forward(layer, *inputs, **named)
        if not output:
            return made
        return made[output] if isinstance(made, dict) else made[int(output)]

    module.__class__ = type(base.__name__, (base,), {
        "__module__": base.__module__, "__qualname__": base.__qualname__, "forward": forward,
        "declared": declared,
    })  # fmt: skip


def _of_the_image(layer: Any) -> None:
    """Turn a batch norm into the instance norm that it is in training mode for one image."""
    layer.__class__ = INSTANCE[type(layer)]
    layer.track_running_stats = False
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        layer._buffers[name] = None
