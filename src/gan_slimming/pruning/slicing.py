"""Slicing: cut channels out of parameters, buffers and optimiser state, in place.

It works on names and axes alone, never on a module's index or class. The only exception is the
attributes that PyTorch's layers keep beside their tensors (in_channels and so on).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.pruning.groups import owner_of
from gan_slimming.pruning.pruned_norms import is_over_channels, thin

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@torch.no_grad()
def slice_tensors(
    root: nn.Module | Mapping[str, Tensor],
    indices: Mapping[tuple[str, int], Tensor],
    optimizers: Iterable[torch.optim.Optimizer] = (),
) -> None:
    """Keep only `indices` of each (tensor, axis), in place.

    Parameters keep their identity, so that optimisers continue with them. Optimiser state (momentum
    and moments) is sliced likewise. Names that do not exist, such as gates, are skipped.
    """
    states = [optimizer.state for optimizer in optimizers]
    touched = set()
    for (name, axis), index in indices.items():
        tensor = root[name] if not isinstance(root, nn.Module) else _lookup(root, name)
        if tensor is None:
            continue
        where = index.to(tensor.device)
        for state in states:
            for key, value in state.get(tensor, {}).items():
                if isinstance(value, Tensor) and value.shape == tensor.shape:
                    state[tensor][key] = value.index_select(axis, where).contiguous()
        _replace(tensor, tensor.data.index_select(axis, where).contiguous())
        touched.add(id(tensor))
    for layer in root.modules() if isinstance(root, nn.Module) else ():
        own = (*layer._parameters.values(), *layer._buffers.values())
        if any(id(tensor) in touched for tensor in own):  # several layers may share one
            update_attributes(layer)


def _replace(tensor: Tensor, values: Tensor) -> None:
    """Give a tensor other values, in place, even if a graph of an earlier forward is alive.

    Such a graph, kept by a user's hook or a checkpoint, holds the shape that gradients must have.
    torch lets go of it where the type changes.
    """
    if tensor.requires_grad:
        tensor.data = torch.empty(0, dtype=torch.float16, device=values.device)
    tensor.data = values
    tensor.grad = None


def _lookup(root: nn.Module, name: str) -> Tensor | None:
    """Return a parameter or buffer, without gates; None for a name that does not exist."""
    try:
        owner, attribute = owner_of(root, name)
    except AttributeError:
        return None
    found = owner._parameters.get(attribute)
    return owner._buffers.get(attribute) if found is None else found


def output_axis(layer: object) -> int:
    """Return the axis of output channels in a layer's weight."""
    return 1 if isinstance(layer, TRANSPOSED) else 0


def update_attributes(layer: Any) -> None:
    """Set a layer's channel counts to the shapes of its tensors."""
    weight: Any = layer._parameters.get("weight")  # the parameter itself, without gates
    if isinstance(layer, nn.modules.conv._ConvNd):
        first, second = weight.shape[:2]
        transposed = layer.transposed
        if layer.groups > 1 and layer.groups == layer.in_channels:
            each = 1 if transposed else layer.out_channels // layer.groups
            layer.groups = first // each
        layer.in_channels = first if transposed else second * layer.groups
        layer.out_channels = second * layer.groups if transposed else first
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        present = weight if weight is not None else layer.running_mean
        assert present is not None
        layer.num_features = len(present)
    elif weight is None:
        pass
    elif is_over_channels(layer):
        thin(layer, len(weight))
    elif isinstance(layer, nn.GroupNorm):
        layer.num_groups = layer.num_groups * len(weight) // layer.num_channels
        layer.num_channels = len(weight)
    elif isinstance(layer, nn.Embedding):
        layer.num_embeddings, layer.embedding_dim = weight.shape
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(weight)


def norm_width(layer: object) -> int | None:
    """Return the channels of a norm with a scale and shift for each; None for other layers."""
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        return layer.num_features
    if isinstance(layer, nn.GroupNorm):
        return layer.num_channels
    if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1:
        return layer.normalized_shape[0]
    return None


def mark_affine(norm: Any) -> None:
    """Mark a norm as having a scale and a shift."""
    name = "elementwise_affine" if isinstance(norm, nn.LayerNorm) else "affine"
    setattr(norm, name, True)
