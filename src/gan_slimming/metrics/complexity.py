"""Multiply-accumulates and parameters of a network, layer by layer.

One MAC is one multiplication with its addition (2 FLOPs). Convolutions, transposed convolutions,
linear layers and other matrix products are counted; norms, activations, additions and resizing are
not. Zero padding counts as pixels, as is usual in the literature.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gan_slimming.quantization.fake_quant import ActivationQuantizer

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FUNCTIONAL = "(functional)"
"""Name of the entry of products outside counted layers, such as attention or F.conv2d."""


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer, for one sample."""

    name: str
    """Its qualified name, or '(functional)'."""
    kind: str
    """Its class, such as 'Conv2d'."""
    macs: int
    """True multiply-accumulates of all its calls."""
    paper_convention_macs: int
    """The same, with transposed convolutions counted at output resolution."""
    parameters: int
    """Number of elements in its own parameters."""
    output_shape: tuple[int, ...]
    """Shape of its last output, batch included; empty for '(functional)'."""


@dataclass(frozen=True)
class Complexity:
    """The cost of a network, for one sample."""

    macs: int
    """True multiply-accumulates, with transposed convolutions at input resolution."""
    paper_convention_macs: int
    """Multiply-accumulates as papers count them ('56.8 G' of CycleGAN's generator), for comparison:
    transposed convolutions at output resolution, too many by the square of their stride."""
    parameters: int
    """Number of elements, as `parameters_of` counts them."""
    layers: list[LayerCost]
    """Layers in the order of their first call."""


def count(module: nn.Module, example_input: tuple[Tensor, ...]) -> Complexity:
    """Run `module` once on `example_input`, in evaluation mode, and count its MACs per sample.

    The first dimension of `example_input[0]` is the batch. A convolution costs output positions
    times weight.numel(), a transposed one input positions times weight.numel(). The module's modes
    and hooks are restored.
    """
    costs: dict[str, LayerCost] = {}
    flops = FlopCounterMode(display=False)
    with ExitStack() as stack:
        stack.enter_context(_evaluating(module))
        stack.enter_context(_frozen(module))
        stack.enter_context(torch.no_grad())
        for name, layer in module.named_modules():
            if isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)):
                handle = layer.register_forward_hook(_recorder(name, costs))
                stack.callback(handle.remove)
        stack.enter_context(flops)
        module(*example_input)
    layers = list(costs.values())
    elsewhere = flops.get_total_flops() // 2 - sum(cost.macs for cost in layers)
    if elsewhere > 0:
        layers.append(LayerCost(FUNCTIONAL, "product", elsewhere, elsewhere, 0, ()))
    batch = example_input[0].shape[0]
    layers = [
        replace(
            cost,
            macs=cost.macs // batch,
            paper_convention_macs=cost.paper_convention_macs // batch,
        )
        for cost in layers
    ]
    return Complexity(
        macs=sum(cost.macs for cost in layers),
        paper_convention_macs=sum(cost.paper_convention_macs for cost in layers),
        parameters=parameters_of(module),
        layers=layers,
    )


def parameters_of(module: nn.Module) -> int:
    """Count the elements of all parameters, shared ones once, without scales of quantisers."""
    scales = {id(m.scale) for m in module.modules() if isinstance(m, ActivationQuantizer)}
    return sum(p.numel() for p in module.parameters() if id(p) not in scales)


def _recorder(name: str, costs: dict[str, LayerCost]) -> Any:
    """Return a forward hook that adds a call's cost, for the whole batch, to `costs[name]`."""

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        if isinstance(layer, TRANSPOSED):
            positions = inputs[0].numel() // layer.in_channels
            paper_positions = output.numel() // layer.out_channels
        else:
            positions = paper_positions = output.numel() // weight.shape[0]
        before = costs.get(name)
        costs[name] = LayerCost(
            name=name,
            kind=type(layer).__name__,
            macs=positions * weight.numel() + (before.macs if before else 0),
            paper_convention_macs=paper_positions * weight.numel()
            + (before.paper_convention_macs if before else 0),
            parameters=parameters_of(layer),
            output_shape=tuple(output.shape),
        )

    return record


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Turn gradients off, because the counter fails on modules called on expanded parameters."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Set evaluation mode, so that no statistics change; restore each submodule's mode."""
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for child, mode in modes:
            child.training = mode
