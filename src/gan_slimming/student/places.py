"""The places of a module or a parameter in a network, and what stands there."""

from __future__ import annotations

from torch import Tensor, nn

from gan_slimming.pruning.groups import owner_of


def replace_module(root: nn.Module, path: str, layer: nn.Module) -> None:
    """Replace a module, by its qualified name, in every place that shares it."""
    old = root.get_submodule(path)
    for name, module in list(root.named_modules(remove_duplicate=False)):
        if module is old and name:
            parent, attribute = owner_of(root, name)
            setattr(parent, attribute, layer)


def holders_of(root: nn.Module, name: str) -> list[tuple[nn.Module, str]]:
    """Return every module that owns a parameter, with the parameter's name there."""
    owner, field = owner_of(root, name)
    tensor = owner._parameters[field]
    return [(m, key) for m in root.modules() for key, p in m._parameters.items() if p is tensor]


def like(module: nn.Module) -> Tensor:
    """Return a parameter, whose device and type new parameters take."""
    return next(module.parameters())
