"""Layers of a student: convolutions, linear layers and norms with gates and quantisers.

Each is a subclass of the standard layer, with the same parameters under the same names. A student
is therefore the user's own module with some layers replaced. Gates act on weights and shifts, never
on activations, and cost nothing:

    normalisation   y = g * (gamma * x_hat + shift)      the shift vanishes with its gate
    convolution     y = q_o(g * q_w(W) * q_a(x)) + g * b the gate is outside the weight's quantiser
    its inputs      q_w(W * g_i)                         where the inputs are never zero themselves

Folding a gate into the layer is therefore exact, quantised or not. The output quantiser q_o is
optional.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.pruning.pruned_norms import PRUNED_NORMS, normalise_over_channels
from gan_slimming.pruning.slicing import output_axis
from gan_slimming.quantization.affine import along
from gan_slimming.quantization.fake_quant import (
    ActivationQuantizer,
    OutputQuantizer,
    WeightQuantizer,
)
from gan_slimming.student import few_outputs
from gan_slimming.student.gates import LayerGate, ungated_type
from gan_slimming.student.instance_norm import instance_norm

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class SlimConvolution:
    """A mixin for convolutions and linear layers: an optional gate and optional quantisers."""

    gate: LayerGate | None = None
    input_gate: LayerGate | None = None
    weight_quantizer: WeightQuantizer | None
    input_quantizer: ActivationQuantizer | None
    output_quantizer: OutputQuantizer | None
    weight: Tensor
    bias: Tensor | None

    def forward(self, values: Tensor) -> Tensor:
        """Return q_o(g * q_w(W) * q_a(x)) + g * b, Wang et al. 2020, eq. 7 and 8; q_o is ours."""
        if self.input_quantizer is not None:
            values = self.input_quantizer(values)
        weight, bias = self.gated_weight(), self.bias
        if self.weight_quantizer is not None:
            weight = self.weight_quantizer(weight)
        if self.gate is not None:
            gate = self.gate()
            weight = weight * along(gate, output_axis(self), weight.dim())
            bias = None if bias is None else bias * gate
        if self.output_quantizer is None:
            return compute(self, values, weight, bias)
        sums = self.output_quantizer(compute(self, values, weight, None))
        return sums if bias is None else sums + along(bias, 0, weight.dim() - 1)

    def gated_weight(self) -> Tensor:
        """Return the weight, times the gates on its inputs where there are any."""
        if self.input_gate is None:
            return self.weight
        axis = 1 - output_axis(self)
        return self.weight * along(self.input_gate(), axis, self.weight.dim())


class SlimNorm:
    """A mixin for normalisations: a gate on the scale and the shift."""

    gate: LayerGate | None = None
    weight: Tensor | None
    bias: Tensor | None

    def forward(self, values: Tensor) -> Tensor:
        """Return g * (gamma * x_hat + shift), with the statistics of the standard layer."""
        weight, bias = self.weight, self.bias
        if self.gate is not None:
            gate = self.gate()
            weight = gate if weight is None else weight * gate
            bias = None if bias is None else bias * gate
        return normalise(self, values, weight, bias)


class SlimReflectionPad2d(nn.ReflectionPad2d):
    """Reflection padding in the dtype of its input; autocast would widen it to float32."""

    def forward(self, values: Tensor) -> Tensor:
        """Pad (..., height, width) without changing the dtype."""
        with torch.autocast(values.device.type, enabled=False):
            return super().forward(values)


class SlimConv1d(SlimConvolution, nn.Conv1d): ...


class SlimConv2d(SlimConvolution, nn.Conv2d): ...


class SlimConv3d(SlimConvolution, nn.Conv3d): ...


class SlimConvTranspose1d(SlimConvolution, nn.ConvTranspose1d): ...


class SlimConvTranspose2d(SlimConvolution, nn.ConvTranspose2d): ...


class SlimConvTranspose3d(SlimConvolution, nn.ConvTranspose3d): ...


class SlimLinear(SlimConvolution, nn.Linear): ...


class SlimInstanceNorm1d(SlimNorm, nn.InstanceNorm1d): ...


class SlimInstanceNorm2d(SlimNorm, nn.InstanceNorm2d): ...


class SlimInstanceNorm3d(SlimNorm, nn.InstanceNorm3d): ...


class SlimGroupNorm(SlimNorm, nn.GroupNorm): ...


class SlimLayerNorm(SlimNorm, nn.LayerNorm): ...


class SlimBatchNorm1d(SlimNorm, nn.BatchNorm1d): ...


class SlimBatchNorm2d(SlimNorm, nn.BatchNorm2d): ...


class SlimBatchNorm3d(SlimNorm, nn.BatchNorm3d): ...


SLIM: dict[type[nn.Module], type[nn.Module]] = {
    base: slim
    for slim in (
        *(SlimConv1d, SlimConv2d, SlimConv3d, SlimLinear),
        *(SlimConvTranspose1d, SlimConvTranspose2d, SlimConvTranspose3d),
        *(SlimInstanceNorm1d, SlimInstanceNorm2d, SlimInstanceNorm3d),
        *(SlimBatchNorm1d, SlimBatchNorm2d, SlimBatchNorm3d, SlimGroupNorm, SlimLayerNorm),
    )
    for base in (slim.__bases__[1],)
}
"""Layer type -> its student version. Only exact types: a subclass may compute something else."""
SLIM[nn.ReflectionPad2d] = SlimReflectionPad2d
SLIM |= {pruned: SLIM[norm] for norm, pruned in PRUNED_NORMS.items()}


def compute(layer: Any, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply the layer with this weight and bias in place of its own."""
    if isinstance(layer, nn.Linear):
        return F.linear(values, weight, bias)
    if few_outputs.pays(layer, values):
        return few_outputs.convolve(values, weight, bias, layer.padding)
    if isinstance(layer, CONVOLUTIONS):
        return layer._conv_forward(values, weight, bias)
    function: Callable[..., Tensor] = (
        F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d
    )[weight.dim() - 3]  # fmt: skip
    return function(
        values, weight, bias, layer.stride, layer.padding, layer.output_padding, layer.groups,
        layer.dilation,
    )  # fmt: skip


def normalise(layer: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Apply the norm with this scale and shift in place of its own."""
    if isinstance(layer, tuple(PRUNED_NORMS)):
        return normalise_over_channels(layer, values, weight, bias)
    mean, variance = layer.running_mean, layer.running_var
    batch_statistics = layer.training or mean is None
    if isinstance(layer, nn.modules.instancenorm._InstanceNorm):
        if mean is None:
            return instance_norm(values, weight, bias, layer.eps)
        return F.instance_norm(
            values, mean, variance, weight, bias, batch_statistics, layer.momentum or 0.0, layer.eps
        )
    if layer.training and mean is not None:
        layer.num_batches_tracked.add_(1)
    momentum = layer.momentum
    if momentum is None:
        momentum = 1.0 / float(layer.num_batches_tracked) if layer.training else 0.0
    return F.batch_norm(values, mean, variance, weight, bias, batch_statistics, momentum, layer.eps)


def to_slim(layer: nn.Module) -> nn.Module:
    """Return the student version of a layer, sharing its parameters and buffers."""
    slim = SLIM[type(layer)].__new__(SLIM[type(layer)])
    nn.Module.__init__(slim)
    slim.__dict__.update({k: v for k, v in layer.__dict__.items() if k not in ("_modules",)})
    if isinstance(slim, SlimConvolution):
        slim.weight_quantizer = None
        slim.input_quantizer = None
        slim.output_quantizer = None
    return slim


def to_plain(slim: nn.Module) -> nn.Module:
    """Return the standard layer, or a pruned norm, without gate and quantisers."""
    base: Any = type(slim).__bases__[-1]
    base = PRUNED_NORMS.get(base, base) if hasattr(slim, "whole_channels") else base
    plain = base.__new__(base)
    nn.Module.__init__(plain)
    hidden = (
        "gate",
        "input_gate",
        "_modules",
        "weight_quantizer",
        "input_quantizer",
        "output_quantizer",
    )
    plain.__dict__.update({k: v for k, v in slim.__dict__.items() if k not in hidden})
    return plain


def keep_channels_last(module: nn.Module) -> None:
    """Give a module instance norms that keep the memory format, in place; it computes the same."""
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.InstanceNorm2d:
                setattr(parent, name, to_slim(layer))


# -- gates of every kind ------------------------------------------------------------------------


def gated_tensors(layer: Any) -> list[tuple[Tensor, int, LayerGate]]:
    """Return the tensors that a layer's gates multiply, each with its channel axis and gate."""
    gate, slim = getattr(layer, "gate", None), isinstance(layer, SlimConvolution)
    found: list[tuple[Tensor, int, LayerGate]] = []
    if isinstance(gate, LayerGate):
        found += [(layer.weight, output_axis(layer) if slim else 0, gate)]
        found += [(layer.bias, 0, gate)] if layer.bias is not None else []
    inputs = getattr(layer, "input_gate", None)
    if isinstance(inputs, LayerGate):
        found += [(layer.weight, 1 - output_axis(layer), inputs)]
    for name, gates in layer.__dict__.get("parameter_gates", {}).items():
        found += [(layer._parameters[name], axis, gate) for axis, gate in gates.items()]
    return found


def scale_channels(
    layer: Any, factor: Callable[[LayerGate], Tensor], seen: set[tuple[int, int]]
) -> None:
    """Multiply every gated tensor of a layer by a factor for each gate, in place.

    The scale of a weight's quantiser follows.

    Args:
        seen: (tensor id, axis) of tensors already multiplied, because layers may share a tensor.
    """
    with torch.no_grad():
        for tensor, axis, gate in gated_tensors(layer):
            if (id(tensor), axis) not in seen:
                seen.add((id(tensor), axis))
                tensor.mul_(along(factor(gate).detach(), axis, tensor.dim()))
        quantizer = getattr(layer, "weight_quantizer", None)
        gate = getattr(layer, "gate", None)
        if quantizer is not None and isinstance(gate, LayerGate):
            values = factor(gate).detach()
            quantizer.scale.mul_(values.abs()).clamp_(min=torch.finfo(values.dtype).tiny)


def fold_gate(layer: Any, seen: set[tuple[int, int]] | None = None) -> None:
    """Fold the gates into the layer's weights, in place; its function stays the same."""
    scale_channels(layer, lambda gate: gate(), set() if seen is None else seen)
    if isinstance(getattr(layer, "gate", None), LayerGate):
        layer.gate = None
    if isinstance(getattr(layer, "input_gate", None), LayerGate):
        layer.input_gate = None
    if "parameter_gates" in layer.__dict__:
        layer.__class__ = ungated_type(layer)
        del layer.__dict__["parameter_gates"]
