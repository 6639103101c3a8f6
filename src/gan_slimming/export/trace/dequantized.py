"""A finished generator in standard layers, whose quantised weights are floats on their grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_slimming.data.whole_copy import whole_copy
from gan_slimming.errors import UserError
from gan_slimming.quantization.fake_quant import ActivationQuantizer
from gan_slimming.student.layers import SLIM, to_plain
from gan_slimming.student.places import replace_module


def without_quantizers(module: nn.Module, *, clips: bool = True) -> nn.Module:
    """Return a copy of standard layers, with quantised weights on their grid, in evaluation mode.

    The float export computes this copy.

    Args:
        clips: keep the ends of trained activation ranges. Students learn to saturate there: without
            them they draw another image.
    """
    plain = whole_copy(module)
    plain.eval()
    for name, layer in list(plain.named_modules(remove_duplicate=False)):
        if not isinstance(layer, tuple(SLIM.values())):
            continue
        if getattr(layer, "gate", None) is not None:
            raise UserError(f"{name} still has a gate; export what extract() returned")
        quantizer = getattr(layer, "weight_quantizer", None)
        if quantizer is not None:
            with torch.no_grad():
                layer.weight.copy_(quantizer(layer.weight))  # pyright: ignore
        standard = to_plain(layer)
        if clips and getattr(layer, "input_quantizer", None) is not None:
            standard.register_forward_pre_hook(_Clip(layer.input_quantizer))  # pyright: ignore
        replace_module(plain, name, standard)
    return plain


class _Clip:
    """A hook that limits a layer's input to the range of its quantiser, without rounding."""

    def __init__(self, quantizer: ActivationQuantizer):
        scale = float(quantizer.scale.detach())
        self.low, self.high = (code * scale for code in quantizer.codes)

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return inputs[0].clamp(self.low, self.high), *inputs[1:]
