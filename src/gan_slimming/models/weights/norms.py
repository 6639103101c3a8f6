"""Weights that weight_norm or spectral_norm split in parts: folded into plain ones, or split."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def fold(
    stem: str, state: Mapping[str, Tensor], layer: nn.Module | None
) -> tuple[Tensor, set[str]] | None:
    """Return the plain tensor `stem`, such as 'conv.weight', and the names of its parts in state.

    Parts have the older names: stem_g and stem_v of weight norm (Salimans and Kingma 2016),
    w = g v / |v|; stem_orig, stem_u and stem_v of spectral norm (Miyato et al. 2018),
    w = orig / (u' W v).

    Args:
        stem: name of the plain tensor.
        state: canonical name -> tensor.
        layer: the layer that takes the tensor; it tells the axis of its outputs.
    Returns:
        None where the parts are not there.
    """
    size, direction = state.get(f"{stem}_g"), state.get(f"{stem}_v")
    if size is not None and direction is not None:
        if size.dim() not in (0, direction.dim()):
            return None
        return _sized(direction, size), {f"{stem}_g", f"{stem}_v"}
    for original in ("orig", "bar"):
        weight, left = state.get(f"{stem}_{original}"), state.get(f"{stem}_u")
        if weight is not None and left is not None and weight.dim() > 1:
            used = {f"{stem}_{original}", f"{stem}_u"} | ({f"{stem}_v"} & state.keys())
            sigma = _largest_singular_value(weight, left, direction, layer)
            return None if sigma is None else (weight / sigma, used)
    return None


def split(weight: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Return g, of the given shape, and v of weight norm, such that g v / |v| is the weight."""
    return _length(weight, shape).to(weight.dtype), weight.clone()


def _sized(direction: Tensor, size: Tensor) -> Tensor:
    """Return g v / |v|, where the norm is over the axes on which g has one number."""
    scale = size.float() / _length(direction, size.shape)
    return (direction.float() * scale).to(direction.dtype)


def _length(weight: Tensor, shape: torch.Size) -> Tensor:
    """Return the norm of a weight in float32, in the shape of g."""
    axes = [axis for axis, length in enumerate(shape) if length == 1] if shape else None
    return weight.float().pow(2).sum(axes, keepdim=bool(shape)).sqrt()


def _largest_singular_value(
    weight: Tensor, left: Tensor, right: Tensor | None, layer: nn.Module | None
) -> Tensor | None:
    """Return u' W v of the kept vectors; v is W' u where the file has none; None if u is odd."""
    axis = int(isinstance(layer, nn.modules.conv._ConvTransposeNd))
    u = left.float().flatten()
    if len(u) != weight.shape[axis]:
        return None
    matrix = weight.float().movedim(axis, 0).flatten(1)
    v = matrix.t() @ u if right is None else right.float().flatten()
    if len(v) != matrix.shape[1]:
        return None
    v = v if right is not None else v / v.norm()
    return (u @ (matrix @ v)).to(weight.dtype)
