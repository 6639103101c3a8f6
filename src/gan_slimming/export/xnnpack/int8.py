"""Int8 convolutions in the forms that XNNPACK delegates, on the grids of training.

XNNPACK has two kinds of int8 convolutions. One writes codes: a layer that rounds its own sums
becomes that one. The other writes floats, but takes the range of its input from the input itself.
One row more, with the ends of the trained range, makes that range the trained one. The row of sums
that it adds is cut off again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.ao.quantization.fx import _decomposed  # noqa: F401  registers the operators below

from gan_slimming.export.trace.graph import arguments_of
from gan_slimming.export.trace.integers import Codes, OutputCodes, QuantizedLayer
from gan_slimming.export.xnnpack.pads import Pads, padded
from gan_slimming.graph.nodes import operator_name, value_of

LOW, HIGH = -128, 127
"""Range of XNNPACK's codes."""
_CODES = torch.ops.quantized_decomposed


def window_of(node: fx.Node) -> dict[str, Any] | None:
    """Return stride, padding and the like of a convolution; None where XNNPACK has no int8 for it.

    XNNPACK takes two dimensions and one group.
    """
    name = operator_name(node)
    if name not in ("conv2d", "conv_transpose2d") or value_of(node).dim() != 4:
        return None
    values = arguments_of(node)
    keys = ("stride", "padding", "dilation", "output_padding")
    window = {key: _pair(values[key]) for key in keys if values.get(key) is not None}
    padding = values["padding"]
    if padding == "valid":
        window["padding"] = [0, 0]
    elif padding == "same":
        kernel = value_of(values["weight"]).shape[2:]
        total = [d * (k - 1) for d, k in zip(window["dilation"], kernel, strict=True)]
        window["padding"] = [t // 2 for t in total]
        if any(t % 2 for t in total):
            return None
    return window if values["groups"] == 1 else None


def is_int8(node: fx.Node, layer: QuantizedLayer) -> bool:
    """Return whether a layer runs in int8: its input, its weight and, if rounded, its sums."""
    whole = layer.codes is not None and layer.inputs is not None
    rounded = layer.outputs is None or layer.outputs.full
    return whole and rounded and window_of(node) is not None


class Int8Convolution(nn.Module):
    """A convolution or transposed convolution of one layer's integers.

    Args:
        node: the call.
        layer: its integers.
        bias: (output channels,), or None.
        pads: of its input, which it makes itself; None for none.
    """

    codes: Tensor
    scale: Tensor
    zeros: Tensor
    bias: Tensor | None
    ends: Tensor
    none: Tensor
    steps: Tensor

    def __init__(
        self, node: fx.Node, layer: QuantizedLayer, bias: np.ndarray | None, pads: Pads | None
    ) -> None:
        super().__init__()
        assert layer.codes is not None
        assert layer.scale is not None
        assert layer.inputs is not None
        window = window_of(node)
        assert window is not None
        self.window, self.pads, self.axis = window, pads, layer.axis
        self.inputs: Codes = layer.inputs
        self.outputs: OutputCodes | None = layer.outputs
        self.transposed = operator_name(node) == "conv_transpose2d"
        self.rows = int(value_of(node).shape[2])
        self.zero_rows = _zero_rows(window, layer.codes.shape[2], self.transposed)
        scale = layer.scale if self.outputs is None else layer.scale / self.outputs.scale
        codes = torch.from_numpy(layer.codes)
        if self.outputs is None and not self.transposed and codes.shape[2:] == (1, 1):
            codes = F.pad(codes, (0, 0, 0, 1))  # XNNPACK takes each pixel's own range for 1x1
        self.register_buffer("codes", codes)
        self.register_buffer("scale", torch.from_numpy(scale.astype(np.float32)))
        self.register_buffer("zeros", torch.zeros(len(scale), dtype=torch.int64))
        self.register_buffer("bias", None if bias is None else torch.from_numpy(bias))
        source = value_of(arguments_of(node)["input"])
        if self.outputs is None:
            self.register_buffer("ends", _ends(self.inputs, source.shape[1], source.shape[3]))
            self.register_buffer("none", torch.zeros(1, 1, 1, 1))
        else:
            steps = torch.from_numpy(self.outputs.scale).view(1, -1, 1, 1)
            self.register_buffer("steps", steps)

    def forward(self, values: Tensor) -> Tensor:
        """Return the layer's output for its float input, without the pads of `pads`."""
        weight = _CODES.dequantize_per_channel(
            self.codes, self.scale, self.zeros, self.axis, LOW + 1, HIGH, torch.int8
        )
        if self.outputs is not None:
            return self._rounded(values, weight)
        codes = self.inputs
        values = values.clamp(codes.low * codes.scale, codes.high * codes.scale)
        sums = self._convolved(_by_own_range(self._with_ends(values)), weight, self.bias)
        return sums[:, :, : self.rows] if sums.shape[2] > self.rows else sums

    def _rounded(self, values: Tensor, weight: Tensor) -> Tensor:
        """Return the output of a layer that rounds its sums: codes times steps, plus the bias."""
        assert self.outputs is not None
        values = on_grid(padded(values, self.pads), self.inputs)
        sums = self._convolved(values, weight, None)
        sums = on_grid(sums, Codes(1.0, self.outputs.low, self.outputs.high)) * self.steps
        return sums if self.bias is None else sums + self.bias.view(1, -1, 1, 1)

    def _with_ends(self, values: Tensor) -> Tensor:
        """Return the padded input, rows of zeros as its own padding has, and the row of ends."""
        sides = None if self.pads is None else self.pads.sides
        row = padded(values[:, :, :1], sides) * self.none
        return padded(values, self.pads, [row] * self.zero_rows + [row + self.ends])

    def _convolved(self, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        function: Any = F.conv_transpose2d if self.transposed else F.conv2d
        return function(values, weight, bias, **self.window)


def on_grid(values: Tensor, codes: Codes) -> Tensor:
    """Return values rounded to codes, as XNNPACK's conversions to bytes and back."""
    zero = 0 if codes.signed else LOW
    limits = (codes.scale, zero, codes.low + zero, codes.high + zero, torch.int8)
    return _CODES.dequantize_per_tensor(_CODES.quantize_per_tensor(values, *limits), *limits)


def _by_own_range(values: Tensor) -> Tensor:
    """Return values rounded to 256 codes between their own least and greatest."""
    least = torch.finfo(torch.float32).tiny
    scale, zero = _CODES.choose_qparams.tensor(values, LOW, HIGH, least, torch.int8)
    limits = (scale, zero, LOW, HIGH, torch.int8)
    codes = _CODES.quantize_per_tensor.tensor(values, *limits)
    return _CODES.dequantize_per_tensor.tensor(codes, *limits)


def _ends(codes: Codes, channels: int, width: int) -> Tensor:
    """Return a row with the least and the greatest value of 256 codes, one of each at least.

    Fewer codes than 256 keep their scale, since values are clamped to their own range.
    """
    axis = 1 if channels > 1 else 3
    shape = [1, 1, 1, 1]
    shape[axis] = channels if axis == 1 else width
    zero = 0 if codes.signed else LOW
    ends = torch.full(shape, (HIGH - zero) * codes.scale)
    if codes.signed:
        ends.select(axis, 0).fill_((LOW - zero) * codes.scale)
    return ends


def _zero_rows(window: dict[str, Any], kernel: int, transposed: bool) -> int:
    """Return how many rows of zeros keep the row of ends out of the rows that count."""
    stride, padding, dilation = (window[key][0] for key in ("stride", "padding", "dilation"))
    if not transposed:
        return padding
    extra = window["output_padding"][0]
    return max(0, -(-(dilation * (kernel - 1) + extra + 1 - stride - padding) // stride))


def _pair(number: Any) -> list[int]:
    """Return a number for both axes; a word stays for window_of."""
    if isinstance(number, str):
        return []
    numbers = list(number) if isinstance(number, list | tuple) else [number]
    return numbers * 2 if len(numbers) == 1 else numbers
