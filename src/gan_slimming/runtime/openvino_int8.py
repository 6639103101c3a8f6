"""OpenVINO's int8 kernels, layer by layer: which layers there are, and how to keep one in float.

A kernel may compute something else than the quantisers say: on x86 CPUs without VNNI or AMX two
products of bytes are added in 16 bits and saturate, and OpenVINO 2026 gets some combinations of
operators wrong on some CPUs. Each layer is checked when a file is opened (`kernel_check`). What is
wrong is computed in float on the same grids, that layer alone.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan_slimming.config import PORTABLE_WEIGHT_BITS

INT8_KERNELS = "LP_TRANSFORMS_MODE"
"""OpenVINO's name for turning quantised layers into int8 ones."""
LAYERS = frozenset({
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
    "MatMul",
})  # fmt: skip
"""OpenVINO's operators that multiply weights with values."""
ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
"""The environment variable that keeps OpenVINO from instructions that the CPU has."""
KINDS = {
    "AVX2": {"avx2"},
    "AVX2_VNNI": {"avx2", "avx_vnni"},
    "AVX512_CORE": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "AVX512_CORE_VNNI": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"},
}
"""Kinds of x86 CPUs whose int8 kernels differ, as the limit names them, and the flags of each."""
CODES = ":codes"
"""Stands behind a layer's path in the name of its weight's codes, in files of ours."""
LOWEST = np.finfo(np.float32).min
_CORES: list[Any] = []
"""Held for good: with OpenVINO 2026.4, a signal after one is given up can end in a crash."""


def kinds_of_cpu() -> list[str]:
    """Return the kinds of CPUs that this one can stand for, itself left out."""
    if os.environ.get(ISA_LIMIT):
        return []
    flags = set(cpu_flags().split())
    return [kind for kind, needed in KINDS.items() if needed <= flags]


@functools.cache
def cpu_flags() -> str:
    """Return the CPU's flags; empty where the system does not tell."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith("flags")), "")
    return ""


def read_model(source: Path | bytes) -> Any:
    """Read a file's path or its content."""
    return _own_core().read_model(source)


def compile_request(model: Any, settings: dict[str, Any]) -> Any:
    """Compile for the CPU. Each form of a model has a core, or they would share weights."""
    return _own_core().compile_model(model, "CPU", settings).create_infer_request()


def _own_core() -> Any:
    import openvino

    _CORES.append(openvino.Core())
    return _CORES[-1]


@functools.cache
def saturates() -> bool:
    """Return whether int8 convolutions lose the top of large sums on this CPU, by trying one."""
    import openvino
    from openvino import opset13 as ops

    codes = np.full((16, 16, 1, 1), 127, np.int8)
    values = ops.parameter([1, 16, 4, 4], np.float32)
    limits = np.float32(0), np.float32(255)
    quantized = ops.fake_quantize(values, *limits, *limits, 256)
    weight = ops.multiply(ops.convert(ops.constant(codes), "f32"), ops.constant(np.float32(1)))
    window = [1, 1], [0, 0], [0, 0], [1, 1]
    made = ops.convolution(quantized, weight, *window)
    model = openvino.Model([made], [values], "saturation")  # pyright: ignore
    request = compile_request(model, {"INFERENCE_PRECISION_HINT": "f32"})
    made = request.infer([np.full((1, 16, 4, 4), 255, np.float32)])[0]
    return bool(np.abs(made - 16 * 127 * 255).max() > 1)


def has_quantizers(model: Any) -> bool:
    """Return whether anything in a model is quantised."""
    return any(op.get_type_name() == "FakeQuantize" for op in model.get_ops())


@dataclass(frozen=True)
class Layer:
    """A layer whose input and weight are quantised.

    Attributes:
        op: OpenVINO's operator.
        quantizer: the FakeQuantize of its input.
        codes: the int8 constants that its weight is made of.
    """

    op: Any
    quantizer: Any
    codes: list[Any]

    @property
    def path(self) -> str:
        """The module path that the layer was exported from; OpenVINO's name in other files."""
        names = [codes.get_friendly_name() for codes in self.codes]
        paths = [name.rpartition(CODES)[0] for name in names if CODES in name]
        return paths[0] if paths else self.op.get_friendly_name()


def quantized_layers(model: Any) -> dict[str, Layer]:
    """Return name -> quantised layer, sorted: operators have another order at each reading."""
    constants, found = constants_of(model), {}
    for op in model.get_ops():
        if op.get_type_name() in LAYERS:
            quantizer, codes = _input_quantizer(op, constants), _codes(op, constants)
            if quantizer is not None and codes:
                found[op.get_friendly_name()] = Layer(op, quantizer, codes)
    return dict(sorted(found.items()))


def constants_of(model: Any) -> set[str]:
    """Return the names of operators that follow from constants and shapes alone."""
    found: set[str] = set()
    for op in model.get_ordered_ops():
        given = [value.get_node().get_friendly_name() for value in op.input_values()]
        fixed = op.get_type_name() in ("Constant", "ShapeOf")
        if fixed or (given and found.issuperset(given)):
            found.add(op.get_friendly_name())
    return found


def values_of(op: Any, constants: set[str]) -> list[Any]:
    """Return the operators that one reads, constants left out."""
    read = (value.get_node() for value in op.input_values())
    return [other for other in read if other.get_friendly_name() not in constants]


def _input_quantizer(op: Any, constants: set[str]) -> Any:
    """Return the FakeQuantize that a layer reads through operators that only move or scale."""
    op = op.input_value(0).get_node()
    while op.get_type_name() != "FakeQuantize":
        values = values_of(op, constants)
        if len(values) != 1 or op.get_type_name() in LAYERS:
            return None
        op = values[0]
    return op


def _codes(op: Any, constants: set[str]) -> list[Any]:
    """Return the int8 constants that a layer's weight is made of."""
    waiting = [op.input_value(1).get_node()]
    if waiting[0].get_friendly_name() not in constants:
        return []
    found = []
    while waiting:
        op = waiting.pop()
        waiting += [value.get_node() for value in op.input_values()]
        if op.get_type_name() == "Constant" and op.get_element_type().get_type_name() == "i8":
            found.append(op)
    return found


def wide_layers(model: Any) -> Iterator[str]:
    """Yield layers with weights of more than PORTABLE_WEIGHT_BITS."""
    most = 2 ** (PORTABLE_WEIGHT_BITS - 1)
    for name, layer in quantized_layers(model).items():
        weights = (codes.data.astype(np.int16) for codes in layer.codes)
        if any(np.abs(weight).max(initial=0) > most for weight in weights):
            yield name


def keep_in_float(model: Any, names: Collection[str]) -> Any:
    """Keep some layers out of the int8 kernels, on the same grids. In place; returns the model.

    A Max that changes nothing in front of the layer hides its quantiser from OpenVINO. One in front
    of the quantiser keeps it from being folded, which goes wrong in float. The rounding of sums is
    hidden in the same way.
    """
    layers = quantized_layers(model)
    inputs = {layer.quantizer.get_friendly_name() for layer in layers.values()}
    for name in layers.keys() & {*names}:
        layer = layers[name]
        _insert_max(layer.op.input(0))
        _insert_max(layer.quantizer.input(0))
        _widen_codes(layer)
        readers = [reader.get_node() for reader in layer.op.output(0).get_target_inputs()]
        for op in readers:
            if op.get_type_name() == "FakeQuantize" and op.get_friendly_name() not in inputs:
                _insert_max(op.input(0))
                for reader in list(op.output(0).get_target_inputs()):
                    _insert_max(reader)
    return model


def all_in_float(model: Any) -> Any:
    """Keep every quantiser from being folded, for a model without int8 kernels. In place."""
    for layer in quantized_layers(model).values():
        _widen_codes(layer)
    for op in model.get_ordered_ops():
        if op.get_type_name() == "FakeQuantize":
            _insert_max(op.input(0))
    return model


def _widen_codes(layer: Layer) -> None:
    """Hold a weight's codes as float32. On some CPUs OpenVINO 2026 has no float product of int8."""
    from openvino import opset13 as ops

    for codes in layer.codes:
        wide = ops.constant(codes.data.astype(np.float32)).output(0)
        for reader in list(codes.output(0).get_target_inputs()):
            op = reader.get_node()
            if op.get_type_name() == "Convert" and op.get_output_element_type(0).is_real():
                op.output(0).replace(wide)


def _insert_max(port: Any) -> None:
    from openvino import opset13 as ops

    read = port.get_source_output()
    port.replace_source_output(ops.maximum(read, LOWEST).output(0))
