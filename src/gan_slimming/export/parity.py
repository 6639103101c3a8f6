"""Parity of the exported file with the student, layer by layer, in every runtime offered.

Rounding flips grow from layer to layer, so a whole int8 network says little about its layers. Each
quantised layer is therefore run alone, on its own input in the student, and compared with the
fake-quantised layer. A float model is compared as a whole.

Float32 cannot decide on a value at the border of two codes: some runtimes divide by the scale, and
others multiply. Inputs closer than TIE to a border are moved to torch's code, and their share is
reported. Sums that a layer rounds itself cannot be moved. Those closer than TIE_OF_SUMS to a border
are left out, and reported as well.
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
from gan_slimming.export.expected import (
    FLOAT_TOLERANCE,
    LAYER_TOLERANCE,
    Inputs,
    expected_of,
    layer_inputs,
    off_the_borders,
    padded_input,
    range_of,
)
from gan_slimming.export.onnx import layer_model
from gan_slimming.export.trace.dequantized import without_quantizers
from gan_slimming.export.trace.graph import TracedGenerator
from gan_slimming.export.trace.integers import quantized_layers
from gan_slimming.graph.nodes import module_path, operator_name
from gan_slimming.runtime.flips import nudged, only_flips
from gan_slimming.runtime.sessions import start_onnxruntime, start_openvino

LAYER_KINDS = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))
START: dict[str, Callable[..., Any]] = {
    "onnxruntime": start_onnxruntime,
    "openvino": start_openvino,
}


@dataclass(frozen=True)
class LayerParity:
    """The parity of one quantised layer in one runtime.

    Attributes:
        error: greatest difference over the range of the layer's output; the range is at least
            a tenth of the greatest value, as a nearly constant output has hardly any.
        ties: share of inputs on the border of two codes.
        left_out: share of outputs on a border, where the layer rounds them.
        in_float: whether the layer was computed in float, because this CPU's int8 kernels get it
            wrong.
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
    """Compare every quantised layer alone, in every runtime.

    Args:
        module: the student.
        given: its inputs, a batch of one.
    Raises:
        UserError: layers differ by more than LAYER_TOLERANCE; it names the worst.
    """
    inputs = layer_inputs(module, given)
    # The first call of each, as for the inputs: a later one may have a size of its own.
    nodes = {module_path(n): n for n in reversed(traced.nodes) if _is_layer(n)}
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
    expected, sure = expected_of(layer, values, traced.layers[path].outputs)
    content = layer_model(traced, node, quantization, opset).SerializeToString()
    extent = range_of(expected)
    inputs, unsure = padded_input(layer, values).numpy(), 1 - float(sure.mean())

    def error_of(result: np.ndarray) -> float:
        return float(np.abs(result - expected).max(initial=0, where=sure)) / extent

    for runtime in runtimes:
        if runtime != "openvino":
            result = START[runtime](content, 1).run(inputs)
            yield LayerParity(path, runtime, error_of(result), ties, unsure)
            continue
        error = error_of(start_openvino(content, 1, kernels="unchecked").run(inputs))
        wrong = not error <= LAYER_TOLERANCE
        if wrong:
            error = error_of(start_openvino(content, 1, kernels="float").run(inputs))
        yield LayerParity(path, runtime, error, ties, unsure, in_float=wrong)


def check_float(
    module: nn.Module, content: bytes, given: Sequence[Inputs], runtimes: Sequence[str]
) -> dict[str, float]:
    """Compare the whole generator, its activations not rounded, at several sizes.

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
    """Compare the whole int8 generator, in which only rounding flips may make a difference.

    Returns:
        Runtime -> mean difference over the image's standard deviation.
    Raises:
        UserError: flips of codes do not explain the difference.
    """
    expected = module(*given).numpy()
    first, *rest = given
    moved = module(torch.from_numpy(nudged(first.numpy())), *rest).numpy()
    errors = {}
    for runtime in runtimes:
        result = START[runtime](content, 1).run(*(x.numpy() for x in given))
        apart = float(np.abs(result - expected).mean())
        errors[runtime] = apart / max(float(expected.std()), float(np.finfo(np.float32).tiny))
        if not only_flips(result, expected, moved):
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
    """Return runtime -> greatest difference between torch's images and the runtime's."""
    expected = [module(*inputs).numpy() for inputs in given]
    errors = {}
    for runtime in runtimes:
        run = START[runtime](content, 1)[0]
        images = [run(*(x.numpy() for x in inputs)) for inputs in given]
        pairs = zip(images, expected, strict=True)
        errors[runtime] = max(float(np.abs(m - e).max()) for m, e in pairs)
    return errors


def summary(rows: Sequence[LayerParity]) -> dict[str, Any]:
    """Return runtime -> its worst layer."""
    worst: dict[str, LayerParity] = {}
    for row in rows:
        if row.runtime not in worst or row.error > worst[row.runtime].error:
            worst[row.runtime] = row
    return {runtime: asdict(row) for runtime, row in worst.items()}


def _is_layer(node: fx.Node) -> bool:
    return operator_name(node) in LAYER_KINDS
