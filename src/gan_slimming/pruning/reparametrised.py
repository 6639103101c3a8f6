"""Weights computed from other parameters, and fixed channel counts of nn.Unflatten.

A student needs plain weights. So spectral norm and weight norm, old style and new, and any other
parametrisation are folded into them first. The function stays the same in evaluation mode.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import CellType, FunctionType
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

Module = TypeVar("Module", bound=nn.Module)


def plain_copy(module: Module) -> Module:
    """Return a copy in evaluation mode, with plain weights, that can be cut."""
    copied = whole_copy(module)
    copied.eval()  # a user's own eval may return nothing
    make_plain(copied)
    return copied


def whole_copy(module: Module) -> Module:
    """Copy any module, even if its old-style norms have just run."""
    detach_kept(module)
    copied = copy.deepcopy(module)
    copies = dict(zip(module.modules(), copied.modules(), strict=True))
    for child in copied.modules():
        hooks: Any
        for hooks in (child._forward_hooks, child._forward_pre_hooks):
            for key, hook in hooks.items():
                if isinstance(hook, FunctionType) and hook.__closure__:
                    hooks[key] = CopiedHook(hook, copies)
    return copied


def detach_kept(module: nn.Module) -> None:
    """Detach what a forward has left in attributes, in place, since it cannot be copied as it is.

    Old-style norms leave their last weight there, and some forwards features, or lists of them.
    """
    for child in module.modules():
        for name, value in child.__dict__.items():
            if not name.startswith("_"):
                child.__dict__[name] = _detached(value)


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value.grad_fn is None else value.detach()
    if type(value) is list and any(isinstance(part, Tensor) for part in value):
        value[:] = map(_detached, value)
    elif type(value) is dict:
        value.update({key: _detached(part) for key, part in value.items()})
    return value


class CopiedHook:
    """A function that a user registered as a hook, with the modules that it names as cells.

    deepcopy leaves a function alone, so a copy's lambda would go on writing to the original.
    """

    def __init__(self, hook: FunctionType, copies: Mapping[nn.Module, nn.Module]) -> None:
        self.hook = hook
        cells = [cell.cell_contents for cell in hook.__closure__ or ()]
        self.cells = [copies.get(c, c) if isinstance(c, nn.Module) else c for c in cells]

    def __call__(self, *inputs: Any) -> Any:
        """Call the function with the cells of this copy."""
        hook, cells = self.hook, tuple(map(CellType, self.cells))
        own = FunctionType(hook.__code__, hook.__globals__, hook.__name__, hook.__defaults__, cells)
        return own(*inputs)

    def __deepcopy__(self, known: dict[int, Any]) -> CopiedHook:
        copied = copy.copy(self)
        copied.cells = [
            copy.deepcopy(c, known) if isinstance(c, nn.Module) else c for c in self.cells
        ]
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
