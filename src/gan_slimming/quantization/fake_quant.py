"""Quantisers of a student in training: straight-through rounding, learnt activation ranges.

Weights have one symmetric scale per output channel. It follows max|W| in training and is fixed
afterwards, so that cutting channels never changes it.

Activations have one scale per tensor, calibrated on real data and signed where the data are. It is
then learnt with the step-size gradient of Esser et al. 2020 (LSQ, arXiv 1902.08153, eq. 3), or
fixed as in Wang et al. 2020.

Outputs, where quantised, have one symmetric scale per channel, which follows the largest value in
training.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.data.ranks.shared_statistics import largest_of_batch
from gan_slimming.graph.fusion import Fusible, flat, flat_as, laid_out_as
from gan_slimming.quantization.affine import along, code_range, quantize, weight_scale

SCALE_RATE = 0.1
"""Fraction by which an output's scale moves in a step towards the batch's."""
MIN_SCALE = 1e-12
"""Smallest scale of an output, for a channel of zeros."""


@Fusible
def _rounded(values: Tensor, scale: Tensor, low: float, high: float) -> Tensor:
    """Return the nearest of codes * scale, codes from low to high."""
    return (values / scale).round_().clamp_(low, high).mul_(scale)


@Fusible
def _gradients(
    grad: Tensor, values: Tensor, scale: Tensor, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Return the gradients of values, and of the scale before LSQ's factor, from `grad`."""
    ratio = values / scale
    passed, inside = (_passed(each, ratio, low, high) for each in (grad, ratio))
    slopes = ratio.round_().clamp_(low, high).sub_(inside).mul_(grad)
    return passed, slopes.sum()


def _passed(grad: Tensor, ratio: Tensor, low: float, high: float) -> Tensor:
    """Return the gradient where rounding does not clip, elsewhere 0.

    One kernel: hardtanh's gradient passes where low < ratio < high, as ours does.
    """
    return torch.ops.aten.hardtanh_backward(grad, ratio, low - 0.5, high + 0.5)


class _RoundToGrid(torch.autograd.Function):
    """Rounding to codes * scale: straight-through gradient in range, LSQ's for the scale."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        ctx.save_for_backward(values, scale)
        ctx.codes = ends = float(low), float(high)  # constants of compiled code, unlike integers
        if scale.dim():  # one for each channel
            return _rounded.function(values, scale, *ends)
        return laid_out_as(values, _rounded(flat(values), scale, *ends))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (grad,) = grads
        values, scale = ctx.saved_tensors
        low, high = ctx.codes
        if not ctx.needs_input_grad[1]:
            return _passed(grad, values / scale, low, high), None, None, None
        passed, slope = _gradients(flat_as(values, grad), flat(values), scale, low, high)
        slope = slope.to(scale.dtype) / math.sqrt(grad.numel() * high)
        return laid_out_as(values, passed), slope, None, None


class Quantizer(nn.Module):
    """The base of all quantisers: bits, and a calibration mode."""

    def __init__(self, bits: int):
        super().__init__()
        self.bits = bits
        self.observing = False
        self._seen = False

    def start_observing(self) -> None:
        """Start calibration: quantise nothing; the next passes set activation ranges anew."""
        self._seen = False
        self.observing = True

    def stop_observing(self) -> None:
        """End calibration: quantise in forward passes from now on."""
        self.observing = False


class ActivationQuantizer(Quantizer):
    """Fake quantisation of one tensor to at most 2**bits levels, with gradients passed through.

    Args:
        bits: 2 to 16.
        signed: whether codes may be negative.
        fixed_range: the p of Wang et al. 2020; activations are clamped to [0, p], which never
            changes.
    """

    scale: nn.Parameter

    def __init__(self, bits: int, *, signed: bool = True, fixed_range: float | None = None):
        super().__init__(bits)
        self.signed = signed and fixed_range is None
        self.learnt = fixed_range is None
        start = 1.0 if fixed_range is None else fixed_range / code_range(bits, signed=False)[1]
        self.scale = nn.Parameter(torch.tensor(start), requires_grad=self.learnt)

    @property
    def codes(self) -> tuple[int, int]:
        """Return the smallest and largest code."""
        return code_range(self.bits, signed=self.signed)

    def forward(self, values: Tensor) -> Tensor:
        """Round a tensor of any shape to the quantiser's grid."""
        if self.observing:
            self.observe(values)
            return values
        kind = values.device.type
        if torch.is_autocast_enabled(kind):
            # The next convolution would cast anyway; casting here halves the work.
            values = values.to(torch.get_autocast_dtype(kind))
        return _RoundToGrid.apply(values, self.scale, *self.codes)  # pyright: ignore

    @torch.no_grad()
    def observe(self, values: Tensor) -> None:
        """Widen the range to fit this batch, by the scale of least mean squared error.

        The sign follows the data: one negative value makes the tensor signed.
        """
        if not self.learnt:
            return
        values = values.detach().float()
        first = not self._seen
        negative = bool((values < 0).any())
        if not first and negative and not self.signed:
            self.scale.mul_(self.codes[1] / code_range(self.bits, signed=True)[1])
        self.signed = negative if first else self.signed or negative
        candidate = best_scale(values, *self.codes)
        self.scale.copy_(candidate if first else torch.maximum(self.scale.float(), candidate))
        self._seen = True

    def get_extra_state(self) -> dict[str, bool]:
        return {"signed": self.signed}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        self.signed = state["signed"]

    def extra_repr(self) -> str:
        return f"bits={self.bits}, signed={self.signed}, learnt={self.learnt}"


def best_scale(values: Tensor, low: int, high: int) -> Tensor:
    """Return the scale of least mean squared error, out of 24 fractions of the maximum.

    Args:
        values: any shape; large tensors are sampled evenly (65,536 values or more).
        low, high: smallest and largest code.
    Returns:
        A positive scalar.
    """
    flat = values.flatten()
    top = flat.abs().max().clamp_min(1e-8)
    sample = flat[:: max(1, flat.numel() // 65536)]
    best, least = top / high, math.inf
    for fraction in torch.linspace(0.4, 1.0, 24).tolist():
        scale = top * fraction / high
        error = float((quantize(sample, scale, low, high) * scale - sample).square().mean())
        if error < least:
            best, least = scale, error
    return best


class WeightQuantizer(Quantizer):
    """Fake quantisation of a weight, with one symmetric scale per output channel.

    The scale follows the weight in training and is fixed in evaluation.
    """

    scale: Tensor

    def __init__(self, weight: Tensor, axis: int, bits: int):
        super().__init__(bits)
        self.axis = axis
        self.register_buffer("scale", weight_scale(weight, axis, bits))

    @property
    def codes(self) -> tuple[int, int]:
        """Return the smallest and largest code; being symmetric, they leave one level unused."""
        top = 2 ** (self.bits - 1) - 1
        return -top, top

    def forward(self, weight: Tensor) -> Tensor:
        """Round the weight to its grid; the gradient passes straight through."""
        if self.observing:
            return weight
        if self.training:
            self.update(weight)
        scale = along(self.scale, self.axis, weight.dim())
        rounded = quantize(weight, scale, *self.codes) * scale
        if not self.training:
            return rounded
        return weight + (rounded - weight).detach()

    @torch.no_grad()
    def update(self, weight: Tensor) -> None:
        """Set the scale from this weight."""
        self.scale.copy_(weight_scale(weight, self.axis, self.bits))

    def extra_repr(self) -> str:
        return f"bits={self.bits}, axis={self.axis}"


class OutputQuantizer(Quantizer):
    """Fake quantisation of a convolution's output, with one symmetric scale per channel.

    Pruning the input channels changes the size of the sums, and a following norm cancels it. The
    scale therefore follows their maximum in training, and is fixed in evaluation.

    Args:
        channels: channels of the output.
        bits: 2 to 8.
        dims: spatial axes after the channels.
    """

    scale: Tensor

    def __init__(self, channels: int, bits: int, dims: int = 2):
        super().__init__(bits)
        self.dims = dims
        self.register_buffer("scale", torch.ones(channels))

    @property
    def codes(self) -> tuple[int, int]:
        """Return the smallest and largest code."""
        return code_range(self.bits, signed=True)

    def forward(self, values: Tensor) -> Tensor:
        """Round (..., channels, *spatial) to the quantiser's grid."""
        if self.observing or self.training:
            self.update(values)
        if self.observing:
            return values
        return _RoundToGrid.apply(  # pyright: ignore
            values, along(self.scale, 0, self.dims + 1), *self.codes
        )

    @torch.no_grad()
    def update(self, values: Tensor) -> None:
        """Move the scale towards this batch's; in calibration, to the largest of all batches."""
        axis = values.dim() - self.dims - 1
        others = [dim for dim in range(values.dim()) if dim != axis]
        largest = values.detach().abs().amax(dim=others).to(self.scale.dtype) / self.codes[1]
        largest = largest_of_batch(largest.clamp_min(MIN_SCALE))
        if self.observing:
            self.scale.copy_(torch.maximum(self.scale, largest) if self._seen else largest)
        else:
            self.scale.lerp_(largest, SCALE_RATE)
        self._seen = True

    def extra_repr(self) -> str:
        return f"bits={self.bits}"
