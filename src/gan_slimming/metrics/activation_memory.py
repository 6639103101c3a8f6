"""The peak memory of a network's activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Live(TorchDispatchMode):
    """A counter of the storages that operations made and that still exist."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.known = known
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def hold(self, tensor: Tensor) -> None:
        """Count a tensor's storage until it is freed."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.known:
            self.live[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.live = {k: entry for k, entry in self.live.items() if not entry[0].expired()}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
                self.hold(leaf)
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return result


@torch.no_grad()
def peak_activation_bytes(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Return the peak bytes of inputs and activations during one forward pass.

    PyTorch runs operation by operation, in the tensors' own number format. Weights and an
    operation's internal memory are not counted. A compiler that fuses operations needs less.

    Args:
        module: a network in evaluation mode.
        inputs: arguments of its forward; a batch of one gives the figure of one image.
    """
    weights = {
        tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())
    }
    mode = _Live(weights)
    for tensor in inputs:
        mode.hold(tensor)
    with mode:
        module(*inputs)
    return mode.peak
