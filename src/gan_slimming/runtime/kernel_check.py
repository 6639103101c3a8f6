"""A check that OpenVINO computes what the quantisers say, on this CPU.

The model runs in float, without int8 kernels, on a dummy image. Then it is cut into pieces, which
all run at once with int8 kernels. Each piece starts from its inputs in the float run, so a fault
shows where it arises, and rounding flips do not grow. The model is cut twice, behind each layer and
in front of each quantiser, because a fault may lie in how either joins its neighbours.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from gan_slimming.config import InputContract
from gan_slimming.data.dummy import dummy_arrays, dummy_image
from gan_slimming.runtime.flips import nudged, only_flips
from gan_slimming.runtime.openvino_int8 import (
    INT8_KERNELS,
    all_in_float,
    compile_request,
    constants_of,
    keep_in_float,
    quantized_layers,
    read_model,
    saturates,
    values_of,
    wide_layers,
)

IMAGE_SIZE = 64
"""Least height and width, in pixels, of the dummy image."""
MIN_DIFFERENCE = 1e-3
"""Mean difference of the whole image, over its spread; smaller ones are ignored."""
MEAN, LARGEST = 0.02, 0.1
"""Greatest mean difference of a piece over its values' spread, and greatest single difference over
their range. A few flips stay far below; a lost zero point or scale is far above."""
Cut = Callable[[Any], list[Any]]
"""Model -> the values to cut it at."""
BEHIND = frozenset({"Add", "Subtract", "Multiply", "Maximum", "FakeQuantize", "Convert"})
"""Operators behind a layer's own that belong to it: scales, a bias, the rounding of its sums."""


def check_layers(
    source: Path | bytes, settings: dict[str, Any], contract: InputContract | None,
    cuts: Sequence[Cut] | None = None,
) -> list[str]:  # fmt: skip
    """Return the layers that int8 kernels get wrong, sorted; the module describes the check.

    Args:
        source, contract: as for `wrong_layers`.
        settings: of the compilation.
        cuts: ways to cut the model into pieces; None takes both.
    """
    model = read_model(source)
    names = set(quantized_layers(model))
    wrong = set(wide_layers(model)) if saturates() else set()
    exact = _Exact(source, settings, made_up_inputs(model, contract))
    suspects: set[str] = set()
    for cut in CUTS if cuts is None else cuts:
        with suppress(RuntimeError):  # pieces that cannot even run show in the whole
            suspects |= _wrong_pieces(read_model(source), cut, exact, settings) - wrong
    # A cut may cause a fault that the whole lacks, so float has to improve the whole as well.
    if suspects and exact.error(wrong) > 2 * exact.error(wrong | suspects) + MIN_DIFFERENCE:
        wrong |= suspects
    if wrong < names and not exact.is_near(wrong):
        near = exact.is_near
        wrong |= _culprits(sorted(names - wrong), wrong, near) if near(names) else names
    return sorted(wrong)


def _culprits(
    layers: Sequence[str], in_float: set[str], is_right: Callable[[set[str]], bool]
) -> set[str]:
    """Return a few layers that correct a model once they are in float, by halving.

    Args:
        layers: candidates; all of them in float correct the model.
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
    """The model in float on the same grids, with its results for one input.

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
        results = _infer(self.request, self.given)
        self.outputs, values = results[:count], dict(zip(each, results[count:], strict=True))
        self.cuts = {cut: [values[key] for key in map(_key_of, ports[cut])] for cut in CUTS}
        self._source, self._settings = source, settings
        self._images: dict[frozenset[str], np.ndarray | None] = {}

    def image(self, in_float: set[str]) -> np.ndarray | None:
        """Return the first output with int8 kernels, except for some layers; None if that fails."""
        chosen = frozenset(in_float)
        if chosen not in self._images:
            model = keep_in_float(read_model(self._source), chosen)
            image = None
            with suppress(RuntimeError):
                image = _infer(compile_request(model, self._settings), self.given)[0]
            fits = image is not None and image.shape == self.outputs[0].shape
            self._images[chosen] = image if fits else None
        return self._images[chosen]

    def error(self, in_float: set[str]) -> float:
        """Return the mean difference of that image over the spread of the float one."""
        image, expected = self.image(in_float), self.outputs[0]
        if image is None:
            return np.inf
        tiny = float(np.finfo(np.float32).tiny)
        return float(np.abs(image - expected).mean()) / max(float(expected.std()), tiny)

    def is_near(self, in_float: set[str]) -> bool:
        """Return whether that image differs by no more than rounding explains."""
        image = self.image(in_float)
        return image is not None and only_flips(image, self.outputs[0], self._moved)

    @functools.cached_property
    def _moved(self) -> np.ndarray:
        """Return the first output for an input that is changed by very little."""
        first, *rest = self.given
        return _infer(self.request, [nudged(first), *rest])[0]


def _infer(request: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    request.infer(list(inputs))
    count = len(request.get_compiled_model().outputs)
    return [request.get_output_tensor(place).data.copy() for place in range(count)]


def _key_of(port: Any) -> tuple[str, int]:
    """Return the name of a value within one model."""
    return port.get_node().get_friendly_name(), port.get_index()


def _behind_layers(model: Any) -> list[Any]:
    """Return the output of each quantised layer, behind its scales, bias and rounding."""
    layers, constants = quantized_layers(model).values(), constants_of(model)
    inputs = {layer.quantizer.get_friendly_name() for layer in layers}
    return [_end_of(layer.op, inputs, constants) for layer in layers]


def _end_of(op: Any, inputs: set[str], constants: set[str]) -> Any:
    """Return the last value that belongs to a layer and that nothing else reads."""
    while True:
        readers = [reader.get_node() for reader in op.output(0).get_target_inputs()]
        readers = [other for other in readers if other.get_friendly_name() not in constants]
        if len(readers) != 1:
            return op.output(0)
        (reader,) = readers
        mine = reader.get_type_name() in BEHIND and len(values_of(reader, constants)) == 1
        if not mine or reader.get_friendly_name() in inputs:
            return op.output(0)
        op = reader


def _before_quantizers(model: Any) -> list[Any]:
    """Return the values that the quantisers of layers' inputs read."""
    ports = {}
    for layer in quantized_layers(model).values():
        port = layer.quantizer.input_value(0)
        if port.get_node().get_type_name() not in ("Parameter", "Constant"):
            ports.setdefault(_key_of(port), port)
    return list(ports.values())


CUTS: tuple[Cut, ...] = (_behind_layers, _before_quantizers)


def _wrong_pieces(model: Any, cut: Cut, exact: _Exact, settings: dict[str, Any]) -> set[str]:
    """Return the layers of the pieces that int8 kernels get wrong.

    Args:
        model: a fresh one, which is cut in place.
        cut: returns the places.
    """
    names, ports = set(quantized_layers(model)), cut(model)
    ends = [*(result.input_value(0) for result in model.get_results()), *ports]
    starts = [ops.parameter(p.get_partial_shape(), p.get_element_type()) for p in ports]
    for port, start in zip(ports, starts, strict=True):
        for reader in list(port.get_target_inputs()):
            if reader.get_node().get_type_name() != "Result":
                reader.replace_source_output(start.output(0))
    results = [ops.result(end) for end in ends]
    pieces = openvino.Model(results, [*model.get_parameters(), *starts], "pieces")  # pyright: ignore
    computed = _infer(compile_request(pieces, settings), [*exact.given, *exact.cuts[cut]])
    wrong: set[str] = set()
    for port, one, other in zip(ends, computed, [*exact.outputs, *exact.cuts[cut]], strict=True):
        if not is_near(one, other):
            wrong.update(_layers_of(port))
    return wrong & names


def _layers_of(port: Any) -> Iterator[str]:
    """Yield all operators of a piece, from its end."""
    waiting, seen = [port.get_node()], set()
    while waiting:
        op = waiting.pop()
        if op.get_friendly_name() in seen:
            continue
        seen.add(op.get_friendly_name())
        yield op.get_friendly_name()
        waiting += [value.get_node() for value in op.input_values()]


def is_near(made: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether a piece differs by no more than a few flips of codes."""
    if made.shape != expected.shape:
        return False
    if not expected.size:
        return True
    apart = np.abs(made - expected)
    spread, extent = float(expected.std()), float(np.ptp(expected))
    floor = 1e-4 * float(np.abs(expected).max()) + float(np.finfo(np.float32).tiny)
    mean, largest = MEAN * spread + floor, LARGEST * extent + floor
    return bool(apart.mean() <= mean and apart.max() <= largest)


def made_up_inputs(model: Any, contract: InputContract | None) -> list[np.ndarray]:
    """Return a noisy image of patches, or a latent and a class, as a batch of one."""
    if contract is not None:
        return list(dummy_arrays(contract, contract.next_side(IMAGE_SIZE)))
    inputs = []
    for port in model.inputs:
        axes = [(d.get_length() if d.is_static else 0) for d in port.get_partial_shape()]
        shape = [length or (IMAGE_SIZE if axis > 1 else 1) for axis, length in enumerate(axes)]
        real = port.get_element_type().is_real()
        inputs.append(dummy_image(tuple(shape), -1, 1) if real else np.zeros(shape, np.int64))
    return inputs


if __name__ == "__main__":
    path, contract_json, precision, cuts = sys.argv[1:]
    contract = InputContract(**json.loads(contract_json)) if contract_json else None
    settings = {"INFERENCE_PRECISION_HINT": precision}
    print(json.dumps(check_layers(Path(path), settings, contract, None if cuts == "cuts" else ())))
