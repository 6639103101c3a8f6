"""Running statistics of batches, taken anew for weights that never trained.

Averaged weights have not seen a batch: their running means and variances, and the scales of their
quantised outputs, belong to the student that trained. They are taken again over some batches with
the averaged weights (Wu & Johnson 2021, 'Rethinking "Batch" in BatchNorm', section 3).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gan_slimming.quantization.fake_quant import OutputQuantizer

BatchNorm = nn.modules.batchnorm._BatchNorm


def has_batch_statistics(module: nn.Module) -> bool:
    """Return whether a layer keeps running statistics of batches, or scales of its outputs."""
    return bool(_layers(module) or _output_quantizers(module))


@torch.no_grad()
def recalibrate(module: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Set running means and variances to their means over `batches`; move scales of outputs.

    Each layer sees its batches through the layers in front of it in training mode. Modes and
    momenta of the modules are as before afterwards.
    """
    layers = _layers(module)
    modes = [(child, child.training) for child in module.modules()]
    momenta = [layer.momentum for layer in layers]
    module.eval()
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
    for quantizer in _output_quantizers(module):
        quantizer.train()
    for number, inputs in enumerate(batches, 1):
        for layer in layers:
            layer.momentum = 1 / number  # a mean over all batches; not all subclasses take None
        module(*inputs)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for child, mode in modes:
        child.training = mode


def _output_quantizers(module: nn.Module) -> list[OutputQuantizer]:
    return [m for m in module.modules() if isinstance(m, OutputQuantizer)]


def _layers(module: nn.Module) -> list[BatchNorm]:
    return [m for m in module.modules() if isinstance(m, BatchNorm) and m.track_running_stats]
