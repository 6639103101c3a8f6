"""Weights computed from other parameters, and fixed channel counts of nn.Unflatten.

A student needs plain weights. So spectral norm and weight norm, old style and new, and any other
parametrisation are folded into them first. The function stays the same in evaluation mode.
"""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from gan_slimming.data.whole_copy import whole_copy

Module = TypeVar("Module", bound=nn.Module)


def plain_copy(module: Module) -> Module:
    """Return a copy in evaluation mode, with plain weights, that can be cut."""
    copied = whole_copy(module)
    copied.eval()  # a user's own eval may return nothing
    make_plain(copied)
    return copied


def make_plain(module: nn.Module) -> list[str]:
    """Fold every computed weight, and let nn.Unflatten infer its channels, in place.

    Returns:
        Names of the folded weights.
    """
    folded = []
    for path, child in module.named_modules():
        folded += [f"{path}.{name}" if path else name for name in _fold(child)]
        if type(child) is nn.Unflatten and child.dim == 1:
            sizes: Any = child.unflattened_size
            if all(isinstance(size, int) and size > 0 for size in sizes):
                child.unflattened_size = (-1, *sizes[1:])
    return folded


def _fold(layer: nn.Module) -> list[str]:
    names = []
    if parametrize.is_parametrized(layer):
        # Parametrisations are written into the class, which copies share: make a private one.
        kind = type(layer)
        layer.__class__ = type(kind.__name__, kind.__bases__, dict(kind.__dict__))  # pyright: ignore
        for name, made_of in list(layer.parametrizations.items()):  # pyright: ignore
            trained = next(made_of.parameters(recurse=False), None)
            parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
            if trained is not None and name in layer._buffers:
                # What several frozen tensors make, torch leaves as a buffer.
                weight = layer._buffers.pop(name)
                layer.register_parameter(name, nn.Parameter(weight, trained.requires_grad))  # pyright: ignore
            names.append(name)
    for hook in list(layer._forward_pre_hooks.values()):
        if isinstance(hook, SpectralNorm | WeightNorm):
            remove = remove_spectral_norm if isinstance(hook, SpectralNorm) else remove_weight_norm
            remove(layer, hook.name)
            names.append(hook.name)
    return names
