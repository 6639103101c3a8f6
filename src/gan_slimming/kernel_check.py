"""Does OpenVINO compute what the quantisers say, on this CPU? Asked once for each file.

The model runs in float, without int8 kernels, on an image made up for it. Then it is cut into
pieces, each of which is fed what it read there, and all pieces run at once with int8 kernels: a
piece starts from the very numbers of float, so a fault shows where it arises and rounding flips do
not grow. It is cut twice, behind each layer and in front of each quantiser, because a fault may lie
in how either is joined to what stands beside it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from gan_slimming.config import InputContract
from gan_slimming.files import cache_folder, write_atomically
from gan_slimming.openvino_int8 import (
    INT8_KERNELS,
    all_in_float,
    compile_request,
    input_quantizer,
    is_constant,
    keep_in_float,
    quantized_layers,
    read_model,
    saturates,
    wide_layers,
)

VERSION = 1
"""Of this check; verdicts of another one are not believed."""
IMAGE_SIZE = 64
"""Least height and width, in pixels, of the image that is made up."""
MEAN, LARGEST = 0.02, 0.1
"""Greatest mean difference of a piece over its values' spread, and greatest one over their range.
A flip here and there stays far below; a lost zero point or scale is far above."""
FLIPS = 0.05
"""Mean difference over the spread of an image that rounding alone may always make."""
NOISE, MORE = 1e-3, 1.5
"""A change of the input so small beside its range, and how many times the difference that it makes
int8 kernels may make. A network that amplifies flips of codes does so wherever they come from."""
ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
"""The environment variable that keeps OpenVINO from instructions that the CPU has."""
Cut = Callable[[Any], list[Any]]
"""A model -> the values that it is cut at."""
BEHIND = frozenset({"Add", "Subtract", "Multiply", "Maximum", "FakeQuantize", "Convert"})
"""What belongs to a layer behind its operator: scales, a bias, the rounding of its sums."""


def wrong_layers(
    source: Path | bytes, settings: dict[str, Any], contract: InputContract | None
) -> tuple[str, ...]:
    """Return the quantised layers that int8 kernels get wrong on this CPU, by name.

    The answer is kept in the cache folder for this content, CPU, precision and OpenVINO.

    Args:
        source: a file's path or its content.
        settings: of the compilation.
        contract: what the generator takes; None goes by the shapes of the model's inputs.
    """
    precision = settings.get("INFERENCE_PRECISION_HINT", "f32")
    file = cache_folder() / "int8-kernels" / f"{_key(source, precision)}.json"
    with suppress(OSError, ValueError, KeyError):
        return tuple(json.loads(file.read_text())["wrong_layers"])
    found = check_layers(source, {"INFERENCE_PRECISION_HINT": precision}, contract)
    with suppress(OSError):  # a folder that cannot be written costs the check again, no more
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"wrong_layers": found}).encode())
    return tuple(found)


def check_layers(
    source: Path | bytes, settings: dict[str, Any], contract: InputContract | None
) -> list[str]:
    """Run the check: see the module. Returns the layers that come out wrong, sorted."""
    model = read_model(source)
    names = set(quantized_layers(model))
    wrong = set(wide_layers(model)) if saturates() else set()
    exact = _Exact(source, settings, made_up_inputs(model, contract))
    for cut in CUTS:
        with suppress(RuntimeError):  # what cannot even run shows as a whole
            wrong |= _wrong_pieces(read_model(source), cut, exact, settings)

    def is_right(in_float: set[str]) -> bool:
        return _is_right_as_a_whole(source, in_float, exact, settings)

    if wrong < names and not is_right(wrong):
        wrong |= _culprits(sorted(names - wrong), wrong, is_right)
    return sorted(wrong)


def _culprits(
    layers: Sequence[str], in_float: set[str], is_right: Callable[[set[str]], bool]
) -> set[str]:
    """Return few layers that make a model right once they are in float, by halving.

    Args:
        layers: to choose from; all of them in float make it right.
        in_float: layers that are in float anyway.
    """
    if len(layers) < 2:
        return set(layers)
    halves = layers[: len(layers) // 2], layers[len(layers) // 2 :]
    for half in halves:
        if is_right(in_float | {*half}):
            return _culprits(half, in_float, is_right)
    first = _culprits(halves[0], in_float | {*halves[1]}, is_right)
    return first | _culprits(halves[1], in_float | first, is_right)


class _Exact:
    """The model in float on the same grids, and what it makes of one input.

    Attributes:
        outputs: of the model.
        cuts: way to cut the model -> the values there.
    """

    def __init__(
        self, source: Path | bytes, settings: dict[str, Any], given: Sequence[np.ndarray]
    ) -> None:
        model = read_model(source)
        count, ports = len(model.outputs), {cut: cut(model) for cut in CUTS}
        each = {_key_of(port): port for cut in CUTS for port in ports[cut]}
        model.add_results([ops.result(port) for port in each.values()])
        self.given = list(given)
        self.request = compile_request(all_in_float(model), {**settings, INT8_KERNELS: False})
        found = _infer(self.request, self.given)
        self.outputs, values = found[:count], dict(zip(each, found[count:], strict=True))
        self.cuts = {cut: [values[key] for key in map(_key_of, ports[cut])] for cut in CUTS}

    def moved(self) -> np.ndarray:
        """Return the first output for an input that is changed by very little."""
        first, *rest = self.given
        noise = np.random.default_rng(1).standard_normal(first.shape, np.float32)
        return _infer(self.request, [first + NOISE * np.ptp(first) * noise, *rest])[0]


def _infer(request: Any, given: Sequence[np.ndarray]) -> list[np.ndarray]:
    request.infer(list(given))
    count = len(request.get_compiled_model().outputs)
    return [request.get_output_tensor(place).data.copy() for place in range(count)]


def _key_of(port: Any) -> tuple[str, int]:
    """Return what names a value within one model."""
    return port.get_node().get_friendly_name(), port.get_index()


def _behind_layers(model: Any) -> list[Any]:
    """Return the output of each quantised layer, behind its scales, bias and rounding."""
    layers = quantized_layers(model).values()
    inputs = {input_quantizer(layer).get_friendly_name() for layer in layers}
    return [_end_of(layer, inputs) for layer in layers]


def _end_of(layer: Any, inputs: set[str]) -> Any:
    """Return the last value that belongs to a layer and that nothing else reads."""
    port = layer.output(0)
    while True:
        readers = [reader.get_node() for reader in port.get_target_inputs()]
        readers = [op for op in readers if not is_constant(op)]
        if len(readers) != 1:
            return port
        op = readers[0]
        values = [value for value in op.input_values() if not is_constant(value.get_node())]
        mine = op.get_type_name() in BEHIND and len(values) == 1
        if not mine or op.get_friendly_name() in inputs:
            return port
        port = op.output(0)


def _before_quantizers(model: Any) -> list[Any]:
    """Return what the quantisers of layers' inputs read."""
    found = {}
    for layer in quantized_layers(model).values():
        port = input_quantizer(layer).input_value(0)
        if port.get_node().get_type_name() not in ("Parameter", "Constant"):
            found.setdefault(_key_of(port), port)
    return list(found.values())


CUTS = (_behind_layers, _before_quantizers)


def _wrong_pieces(model: Any, cut: Cut, exact: _Exact, settings: dict[str, Any]) -> set[str]:
    """Return the layers of the pieces that int8 kernels get wrong.

    Args:
        model: read anew; it is cut to pieces.
        cut: tells where.
    """
    names, ports = set(quantized_layers(model)), cut(model)
    ends = [*(result.input_value(0) for result in model.get_results()), *ports]
    starts = [ops.parameter(p.get_partial_shape(), p.get_element_type()) for p in ports]
    for port, start in zip(ports, starts, strict=True):
        for reader in list(port.get_target_inputs()):
            if reader.get_node().get_type_name() != "Result":
                reader.replace_source_output(start.output(0))
    results = [ops.result(end) for end in ends]
    pieces = openvino.Model(results, [*model.get_parameters(), *starts], "pieces")
    made = _infer(compile_request(pieces, settings), [*exact.given, *exact.cuts[cut]])
    wrong: set[str] = set()
    for port, one, other in zip(ends, made, [*exact.outputs, *exact.cuts[cut]], strict=True):
        if not is_near(one, other):
            wrong.update(_layers_of(port))
    return wrong & names


def _layers_of(port: Any) -> Iterator[str]:
    """Yield all operators that a piece is made of, from its end."""
    waiting, seen = [port.get_node()], set()
    while waiting:
        op = waiting.pop()
        if op.get_friendly_name() in seen:
            continue
        seen.add(op.get_friendly_name())
        yield op.get_friendly_name()
        waiting += [value.get_node() for value in op.input_values()]


def is_near(made: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether a piece differs by no more than a flip of codes here and there."""
    if made.shape != expected.shape:
        return False
    if not expected.size:
        return True
    apart = np.abs(made - expected)
    spread, extent = float(expected.std()), float(np.ptp(expected))
    floor = 1e-4 * float(np.abs(expected).max()) + float(np.finfo(np.float32).tiny)
    mean, largest = MEAN * spread + floor, LARGEST * extent + floor
    return bool(apart.mean() <= mean and apart.max() <= largest)


def _is_right_as_a_whole(
    source: Path | bytes, wrong: set[str], exact: _Exact, settings: dict[str, Any]
) -> bool:
    model = keep_in_float(read_model(source), wrong)
    try:
        made = _infer(compile_request(model, settings), exact.given)[0]
    except RuntimeError:
        return False
    expected = exact.outputs[0]
    if made.shape != expected.shape:
        return False
    return only_flips(made, expected, expected) or only_flips(made, expected, exact.moved())


def only_flips(made: np.ndarray, expected: np.ndarray, moved: np.ndarray) -> bool:
    """Return whether rounding can have made the difference between int8 kernels and float.

    Args:
        made, expected: images by int8 kernels and in float.
        moved: in float, of an input that was changed by very little.
    """
    flips = max(FLIPS * expected.std(), MORE * np.abs(moved - expected).mean())
    return bool(np.abs(made - expected).mean() <= flips)


def made_up_inputs(model: Any, contract: InputContract | None) -> list[np.ndarray]:
    """Return an image of patches and some noise, or a latent and a class, a batch of one."""
    random = np.random.default_rng(0)
    if contract is not None and contract.latent_size:
        noise = random.standard_normal((1, contract.latent_size), np.float32)
        return [noise, np.zeros(1, np.int64)][: 2 if contract.classes else 1]
    if contract is not None:
        step = contract.multiple_of
        side = -(-max(IMAGE_SIZE, contract.min_size) // step) * step
        return [_image((1, contract.channels, side, side), contract.low, contract.high)]
    given = []
    for port in model.inputs:
        axes = [(d.get_length() if d.is_static else 0) for d in port.get_partial_shape()]
        shape = [length or (IMAGE_SIZE if axis > 1 else 1) for axis, length in enumerate(axes)]
        real = port.get_element_type().is_real()
        given.append(_image(tuple(shape), -1, 1) if real else np.zeros(shape, np.int64))
    return given


def _image(shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    random = np.random.default_rng(0)
    values = random.random(shape, np.float32)
    if len(shape) == 4:
        height, width = shape[2:]
        patches = random.random((*shape[:2], 4, 4), np.float32)
        patches = patches.repeat(-(-height // 4), 2).repeat(-(-width // 4), 3)
        values = 0.9 * patches[..., :height, :width] + 0.1 * values
    return low + (high - low) * values


def _key(source: Path | bytes, precision: str) -> str:
    """Return the name of a verdict: content, CPU, OpenVINO, precision and this check."""
    digest = hashlib.sha256()
    if isinstance(source, bytes):
        digest.update(source)
    else:
        for file in (source, source.with_suffix(".bin")):
            digest.update(file.read_bytes() if file.is_file() else b"")
    told = (VERSION, openvino.__version__, precision, _cpu(), os.environ.get(ISA_LIMIT, ""))
    digest.update(repr(told).encode())
    return digest.hexdigest()


@functools.cache
def _cpu() -> str:
    """Return the CPU's name and flags."""
    name = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return f"{name} {next((line for line in lines if line.startswith('flags')), '')}"
    return str(name)
