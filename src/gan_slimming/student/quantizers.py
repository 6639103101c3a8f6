"""Quantisers on the layers of a student, and layers without them."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_slimming.pruning.groups import SCALES, GroupGraph, Member
from gan_slimming.quantization.fake_quant import (
    ActivationQuantizer,
    OutputQuantizer,
    WeightQuantizer,
)
from gan_slimming.student.layers import SLIM, SlimConvolution, output_axis, to_plain, to_slim
from gan_slimming.student.places import replace_module


def quantize_layer(
    module: nn.Module,
    graph: GroupGraph,
    path: str,
    bits: int,
    weight_bits: int,
    activation_range: float | None,
) -> None:
    """Quantise the weight and the input of the layer at `path`, if it can be.

    Args:
        module, graph: the student's; the scales join the channel groups.
        bits: of the input.
        activation_range: the fixed p of Wang et al. 2020; None for a calibrated range.
    """
    layer: Any = module.get_submodule(path)
    if type(layer) in SLIM:
        layer = to_slim(layer)
        replace_module(module, path, layer)
    if not isinstance(layer, SlimConvolution):
        return
    axis = output_axis(layer)
    layer.weight_quantizer = WeightQuantizer(layer.weight, axis, weight_bits)
    layer.input_quantizer = ActivationQuantizer(bits, fixed_range=activation_range).to(layer.weight)
    _cut_with_outputs(module, graph, layer, path + SCALES[0])


def quantize_output(module: nn.Module, graph: GroupGraph, path: str, bits: int) -> None:
    """Quantise the sums of the convolution at `path`, before the bias, if it is a plain one."""
    layer: Any = module.get_submodule(path)
    channels = layer.weight.shape[output_axis(layer)]
    # A linear layer has no out_channels; a grouped transposed convolution has other axes.
    if getattr(layer, "out_channels", None) != channels or not isinstance(layer, SlimConvolution):
        return
    quantizer = OutputQuantizer(channels, bits, layer.weight.dim() - 2)
    layer.output_quantizer = quantizer.to(layer.weight)
    _cut_with_outputs(module, graph, layer, path + SCALES[1])


def _cut_with_outputs(module: nn.Module, graph: GroupGraph, layer: Any, name: str) -> None:
    """Register a vector to be cut with the layer's output channels, as its weight is."""
    axis = output_axis(layer)
    graph.shapes[name] = (layer.weight.shape[axis],)
    # A weight that several layers share is in the graph under its first name.
    known = next(n for n, p in module.named_parameters() if p is layer.weight)
    for group in graph.groups:
        group.members += [
            Member(name, 0, member.positions, member.channels)
            for member in group.members
            if member.tensor == known and member.axis == axis
        ]


def drop_quantizers(module: nn.Module) -> None:
    """Replace a student's layers by standard layers, in place; weights keep their values."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, tuple(SLIM.values())):
            replace_module(module, name, to_plain(layer))
