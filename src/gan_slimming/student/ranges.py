"""Representable and observed activations of quantised layers, and the shares clipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_slimming.quantization.affine import along, quantize
from gan_slimming.quantization.fake_quant import ActivationQuantizer
from gan_slimming.student.layers import SlimConvolution


@dataclass
class LayerRange:
    """The ranges of one quantised layer; activations are its inputs."""

    layer: str
    """Its name in the generator."""
    low: float
    """Smallest representable activation."""
    high: float
    """Largest representable activation."""
    bits: int
    """Bits of activations."""
    weight_low: float
    """Smallest weight."""
    weight_high: float
    """Largest weight."""
    weight_bits: int | None
    """Bits of weights; None if these are not quantised."""
    weight_zeros: float
    """Share of weights whose code is 0."""
    seen_low: float = float("inf")
    """Smallest observed activation."""
    seen_high: float = float("-inf")
    """Largest observed activation."""
    clipped_low: float = 0.0
    """Share of activations more than half a step below `low`."""
    clipped_high: float = 0.0
    """Share of activations more than half a step above `high`."""
    count: int = 0
    """Number of observed activations."""

    def add(self, values: Tensor, step: float) -> None:
        """Update the figures with a tensor of activations; `step` is the quantiser's scale."""
        total = self.count + values.numel()
        below = int((values < self.low - step / 2).sum())
        above = int((values > self.high + step / 2).sum())
        self.clipped_low = (self.clipped_low * self.count + below) / total
        self.clipped_high = (self.clipped_high * self.count + above) / total
        self.seen_low = min(self.seen_low, float(values.min()))
        self.seen_high = max(self.seen_high, float(values.max()))
        self.count = total


@contextmanager
def observed_ranges(generator: nn.Module) -> Iterator[list[LayerRange]]:
    """Observe the inputs of a generator's quantised layers while it runs.

    Yields:
        One entry per layer with a quantised input, in module order; none for a float generator.
    """
    ranges, handles = [], []
    for name, layer in generator.named_modules():
        if isinstance(layer, SlimConvolution) and layer.input_quantizer is not None:
            ranges.append(_range_of(name, layer))
            handles.append(layer.input_quantizer.register_forward_pre_hook(_watcher(ranges[-1])))
    try:
        yield ranges
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _range_of(name: str, layer: SlimConvolution) -> LayerRange:
    activations, weights = layer.input_quantizer, layer.weight_quantizer
    assert activations is not None
    weight = layer.weight.detach().float()
    low, high = (code * float(activations.scale) for code in activations.codes)
    zeros = weight == 0
    if weights is not None:
        scale = along(weights.scale, weights.axis, weight.dim())
        zeros = quantize(weight, scale, *weights.codes) == 0
    return LayerRange(
        layer=name,
        low=low,
        high=high,
        bits=activations.bits,
        weight_low=float(weight.min()),
        weight_high=float(weight.max()),
        weight_bits=None if weights is None else weights.bits,
        weight_zeros=float(zeros.float().mean()),
    )


def _watcher(found: LayerRange) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def watch(quantizer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(quantizer, ActivationQuantizer)
        found.add(inputs[0].detach(), float(quantizer.scale.detach()))

    return watch
