"""Slicing: take channels out of parameters, buffers and optimiser state, in place.

Works on names and axes alone, never on a module's index or class, except to bring the attributes
that PyTorch's layers keep beside their tensors (in_channels and so on) into line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.pruning.groups import owner_of


@torch.no_grad()
def slice_tensors(
    root: nn.Module | Mapping[str, Tensor],
    indices: Mapping[tuple[str, int], Tensor],
    optimizers: Iterable[torch.optim.Optimizer] = (),
) -> None:
    """Keep only `indices` of each (tensor, axis), in place.

    Parameters keep their identity, so that optimisers go on with them; their state (momentum and
    moments) is sliced in the same way. Names that do not exist, such as gates, are passed over.
    """
    states = [optimizer.state for optimizer in optimizers]
    touched = []
    for (name, axis), index in indices.items():
        found = _lookup(root, name)
        if found is None:
            continue
        tensor, owner = found
        where = index.to(tensor.device)
        for state in states:
            for key, value in state.get(tensor, {}).items():
                if isinstance(value, Tensor) and value.shape == tensor.shape:
                    state[tensor][key] = value.index_select(axis, where).contiguous()
        tensor.data = tensor.data.index_select(axis, where).contiguous()
        tensor.grad = None
        if owner is not None and owner not in touched:
            touched.append(owner)
    for owner in touched:
        update_attributes(owner)


def _lookup(
    root: nn.Module | Mapping[str, Tensor], name: str
) -> tuple[Tensor, nn.Module | None] | None:
    if not isinstance(root, nn.Module):
        return root[name], None
    try:
        owner, attribute = owner_of(root, name)
    except AttributeError:
        return None
    tensor = getattr(owner, attribute, None)
    return (tensor, owner) if isinstance(tensor, Tensor) else None


def update_attributes(layer: Any) -> None:
    """Bring a layer's numbers of channels into line with the shapes of its tensors."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        first, second = layer.weight.shape[:2]
        if layer.groups > 1 and layer.groups == layer.in_channels == layer.out_channels:
            layer.groups = first
        transposed = layer.transposed
        layer.in_channels = first if transposed else second * layer.groups
        layer.out_channels = second * layer.groups if transposed else first
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        present = layer.weight if layer.weight is not None else layer.running_mean
        assert present is not None
        layer.num_features = len(present)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
