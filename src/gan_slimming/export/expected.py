"""What the layers of a student compute, for comparison with those of an exported file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_slimming.export.trace.integers import Codes, OutputCodes, quantized_layers
from gan_slimming.quantization.affine import along

LAYER_TOLERANCE = 1e-5
"""Greatest allowed difference of a quantised layer, relative to the range of its output."""
FLOAT_TOLERANCE = 1e-4
"""Greatest allowed difference of a float model's image, in its own units."""
TIE = 1e-4
"""Distance from the border of two codes, in codes, within which float32 cannot decide."""
TIE_OF_SUMS = 2e-3
"""The same for sums of products, which torch rounds at every step and integers do not."""
Inputs = tuple[Tensor, ...]
"""The inputs of a generator's forward."""


@torch.no_grad()
def expected_of(
    layer: Any, values: Tensor, outputs: OutputCodes | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the output of the student's layer, and where it is certain in every runtime."""
    if outputs is None:
        result = layer(values).numpy()
        return result, np.ones_like(result, bool)
    sums: list[Tensor] = []
    hook = layer.output_quantizer.register_forward_pre_hook(lambda _, args: sums.append(args[0]))
    try:
        result = layer(values).numpy()
    finally:
        hook.remove()
    scale = along(torch.from_numpy(outputs.scale), 0, layer.weight.dim() - 1)
    ratio = sums[0] / scale
    return result, ~_on_a_border(ratio, outputs, TIE_OF_SUMS).numpy()


def padded_input(layer: Any, values: Tensor) -> Tensor:
    """Return the convolution's own input: padding other than zeros is a step before it."""
    if getattr(layer, "padding_mode", "zeros") == "zeros":
        return values
    sides = layer._reversed_padding_repeated_twice  # as nn.Conv2d gives it to F.pad
    return nn.functional.pad(values, sides, mode=layer.padding_mode)


def range_of(values: np.ndarray) -> float:
    """Return greatest minus least, but at least a tenth of the greatest magnitude."""
    span, most = float(values.max() - values.min()), float(np.abs(values).max())
    return max(span, 0.1 * most, float(np.finfo(np.float32).tiny))


def off_the_borders(values: Tensor, codes: Codes) -> tuple[Tensor, float]:
    """Return values that torch and every runtime round alike, and the share that was moved."""
    ratio = values / codes.scale
    border, moved = _on_a_border(ratio, codes, TIE), ratio.round() * codes.scale
    return torch.where(border, moved, values), float(border.float().mean())


def _on_a_border(ratio: Tensor, codes: Codes | OutputCodes, near: float) -> Tensor:
    """Return where values over their scale lie within `near` codes of the border of two codes."""
    border = (ratio - ratio.floor() - 0.5).abs() < near
    return border & (ratio > codes.low - 1) & (ratio < codes.high + 1)


@torch.no_grad()
def layer_inputs(module: nn.Module, given: Inputs) -> dict[str, Tensor]:
    """Return quantised layer -> its input in the student, at its first call."""
    seen: dict[str, Tensor] = {}
    hooks = []
    for path, layer in quantized_layers(module).items():

        def keep(_: nn.Module, inputs: tuple[Tensor, ...], path: str = path) -> None:
            seen.setdefault(path, inputs[0].detach().clone())

        hooks.append(layer.register_forward_pre_hook(keep))
    try:
        module(*given)
    finally:
        for hook in hooks:
            hook.remove()
    return seen
