"""Does the file compute what was trained? Asked layer by layer, in every runtime offered.

Rounding flips grow from layer to layer, so a whole int8 network says little about its layers. Each
quantised layer is therefore run alone, on the input that the student itself inputs it, and compared
with the fake-quantised layer. A model in float is compared as a whole.

A value that lies between two codes to the last bits of float32 may go to either, and runtimes
divide or multiply by the scale: such inputs, closer than TIE to a border, are moved to the code
that torch takes, and how many there were is told. Sums that a layer rounds itself cannot be moved:
those closer than TIE_OF_SUMS to a border are left out, and told as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from gan_slimming.errors import UserError
from gan_slimming.export.emitter import Quantization
from gan_slimming.export.onnx import layer_model
from gan_slimming.export.trace.graph import (
    Codes,
    OutputCodes,
    TracedGenerator,
    quantized_layers,
    without_quantizers,
)
from gan_slimming.graph.nodes import module_path, operator_name
from gan_slimming.quantization.affine import along
from gan_slimming.runtime.flips import nudged, only_flips
from gan_slimming.runtime.sessions import start_onnxruntime, start_openvino

LAYER_TOLERANCE = 1e-5
"""Greatest difference of a quantised layer, relative to the range of its output."""
FLOAT_TOLERANCE = 1e-4
"""Greatest difference of a float model's image, in its own units."""
TIE = 1e-4
"""Distance from the border of two codes, in codes, within which float32 decides nothing."""
TIE_OF_SUMS = 2e-3
"""The same for sums of products, which torch rounds at every step and integers do not."""
Inputs = tuple[Tensor, ...]
"""What a generator's forward takes."""
LAYER_KINDS = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))
START: dict[str, Callable[..., Any]] = {
    "onnxruntime": start_onnxruntime,
    "openvino": start_openvino,
}


@dataclass(frozen=True)
class LayerParity:
    """One quantised layer in one runtime.

    Attributes:
        error: greatest difference, over the range of the layer's output (a tenth of its greatest
            value at least: one that hardly varies has little of a range).
        ties: share of inputs that lay on the border of two codes.
        left_out: share of outputs that did, where the layer rounds them.
        in_float: this CPU's int8 kernels get the layer wrong, and it was computed in float.
    """

    layer: str
    runtime: str
    error: float
    ties: float
    left_out: float = 0.0
    in_float: bool = False


def check_layers(
    module: nn.Module, traced: TracedGenerator, quantization: Quantization, opset: int,
    given: Inputs,
    runtimes: Sequence[str],
) -> list[LayerParity]:  # fmt: skip
    """Every quantised layer alone, in every runtime.

    Args:
        module: the student; given: what it takes, a batch of one.
    Raises:
        UserError: a layer differs by more than LAYER_TOLERANCE, by name.
    """
    inputs = layer_inputs(module, given)
    nodes = {module_path(n): n for n in traced.nodes if _is_layer(n)}
    rows = []
    for path, layer in quantized_layers(module).items():
        if path not in inputs or path not in nodes:
            continue
        rows += list(
            _check_layer(
                path, layer, inputs[path], traced, nodes[path], quantization, opset, runtimes
            )
        )
    missed = [row for row in rows if not row.error <= LAYER_TOLERANCE]
    if missed:
        worst = max(missed, key=lambda row: row.error)
        raise UserError(
            f"{len(missed)} of {len(rows)} int8 layers differ from what was trained: "
            f"{worst.layer} in {worst.runtime} by {worst.error:.2g} of its range, at most "
            f"{LAYER_TOLERANCE:g}; nothing is written"
        )
    return rows


def _check_layer(
    path: str, layer: nn.Module, values: Tensor, traced: TracedGenerator, node: fx.Node,
    quantization: Quantization, opset: int, runtimes: Sequence[str],
) -> Iterator[LayerParity]:  # fmt: skip
    codes, ties = traced.layers[path].inputs, 0.0
    if codes is not None:
        values, ties = off_the_borders(values, codes)
    expected, sure = _expected(layer, values, traced.layers[path].outputs)
    content = layer_model(traced, node, quantization, opset).SerializeToString()
    extent = _range(expected)
    read, unsure = _padded(layer, values).numpy(), 1 - float(sure.mean())

    def error_of(made: np.ndarray) -> float:
        return float(np.abs(made - expected).max(initial=0, where=sure)) / extent

    for runtime in runtimes:
        if runtime != "openvino":
            made = START[runtime](content, 1).run(read)
            yield LayerParity(path, runtime, error_of(made), ties, unsure)
            continue
        error = error_of(start_openvino(content, 1, kernels="unchecked").run(read))
        wrong = not error <= LAYER_TOLERANCE
        if wrong:
            error = error_of(start_openvino(content, 1, kernels="float").run(read))
        yield LayerParity(path, runtime, error, ties, unsure, in_float=wrong)


@torch.no_grad()
def _expected(
    layer: Any, values: Tensor, outputs: OutputCodes | None
) -> tuple[np.ndarray, np.ndarray]:
    """What the student's layer makes, and where that is surely so in every runtime."""
    if outputs is None:
        made = layer(values).numpy()
        return made, np.ones_like(made, bool)
    sums: list[Tensor] = []
    hook = layer.output_quantizer.register_forward_pre_hook(lambda _, given: sums.append(given[0]))
    try:
        made = layer(values).numpy()
    finally:
        hook.remove()
    scale = along(torch.from_numpy(outputs.scale), 0, layer.weight.dim() - 1)
    ratio = sums[0] / scale
    return made, ~_on_a_border(ratio, outputs, TIE_OF_SUMS).numpy()


def _range(values: np.ndarray) -> float:
    """Greatest less least, but not less than float32 can tell beside the greatest."""
    span, most = float(values.max() - values.min()), float(np.abs(values).max())
    return max(span, 0.1 * most, float(np.finfo(np.float32).tiny))


def _padded(layer: Any, values: Tensor) -> Tensor:
    """What the convolution itself reads: padding with anything but zeros is a step before it."""
    if getattr(layer, "padding_mode", "zeros") == "zeros":
        return values
    sides = layer._reversed_padding_repeated_twice  # as nn.Conv2d gives it to F.pad
    return nn.functional.pad(values, sides, mode=layer.padding_mode)


def check_float(
    module: nn.Module, content: bytes, given: Sequence[Inputs], runtimes: Sequence[str]
) -> dict[str, float]:
    """The whole generator without activation quantisers, at several sizes.

    Returns:
        Runtime -> greatest difference.
    Raises:
        UserError: it exceeds FLOAT_TOLERANCE.
    """
    plain = without_quantizers(module)
    errors = differences(plain, content, given, runtimes)
    for runtime, error in errors.items():
        if not error <= FLOAT_TOLERANCE:
            raise UserError(
                f"the float export differs from torch by {error:.2g} in {runtime}, at most "
                f"{FLOAT_TOLERANCE:g}; nothing is written"
            )
    return errors


@torch.no_grad()
def check_image(
    module: nn.Module, content: bytes, given: Inputs, runtimes: Sequence[str]
) -> dict[str, float]:
    """Compare the whole int8 generator, which rounding flips may move, and nothing else.

    Returns:
        Runtime -> mean difference over the image's spread.
    Raises:
        UserError: more than flips of codes explain.
    """
    expected = module(*given).numpy()
    first, *rest = given
    moved = module(torch.from_numpy(nudged(first.numpy())), *rest).numpy()
    errors = {}
    for runtime in runtimes:
        made = START[runtime](content, 1).run(*(x.numpy() for x in given))
        apart = float(np.abs(made - expected).mean())
        errors[runtime] = apart / max(float(expected.std()), float(np.finfo(np.float32).tiny))
        if not only_flips(made, expected, moved):
            raise UserError(
                f"the int8 file's image is off by {errors[runtime]:.2g} of its spread in "
                f"{runtime}; nothing is written. Take --quantization none, and please report the "
                "generator"
            )
    return errors


@torch.no_grad()
def differences(
    module: nn.Module, content: bytes, given: Sequence[Inputs], runtimes: Sequence[str]
) -> dict[str, float]:
    """Runtime -> greatest difference between torch's images and the runtime's."""
    expected = [module(*inputs).numpy() for inputs in given]
    errors = {}
    for runtime in runtimes:
        run = START[runtime](content, 1)[0]
        made = [run(*(x.numpy() for x in inputs)) for inputs in given]
        pairs = zip(made, expected, strict=True)
        errors[runtime] = max(float(np.abs(m - e).max()) for m, e in pairs)
    return errors


def off_the_borders(values: Tensor, codes: Codes) -> tuple[Tensor, float]:
    """Values that torch and a runtime surely round alike, and the share that was moved."""
    ratio = values / codes.scale
    border, moved = _on_a_border(ratio, codes, TIE), ratio.round() * codes.scale
    return torch.where(border, moved, values), float(border.float().mean())


def _on_a_border(ratio: Tensor, codes: Codes | OutputCodes, near: float) -> Tensor:
    """Whether values over their scale lie between two codes, to so many of a code."""
    border = (ratio - ratio.floor() - 0.5).abs() < near
    return border & (ratio > codes.low - 1) & (ratio < codes.high + 1)


@torch.no_grad()
def layer_inputs(module: nn.Module, given: Inputs) -> dict[str, Tensor]:
    """Quantised layer -> what the student inputs it for this input (its first call)."""
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


def summary(rows: Sequence[LayerParity]) -> dict[str, Any]:
    """Runtime -> its worst layer."""
    worst: dict[str, LayerParity] = {}
    for row in rows:
        if row.runtime not in worst or row.error > worst[row.runtime].error:
            worst[row.runtime] = row
    return {runtime: asdict(row) for runtime, row in worst.items()}


def _is_layer(node: fx.Node) -> bool:
    return operator_name(node) in LAYER_KINDS
