"""Copies of any module, which copy.deepcopy alone refuses or leaves tied to the original."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import CellType, FunctionType
from typing import Any, TypeVar

from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


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
