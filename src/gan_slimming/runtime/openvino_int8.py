"""OpenVINO's int8 kernels, layer by layer: which layers there are, and how to keep one in float.

A kernel may compute something else than the quantisers say. On x86 CPUs without VNNI or AMX two
products of bytes are added in 16 bits and saturate. OpenVINO 2026 gets some combinations of
operators wrong on some CPUs. Each layer is checked when a file is opened (`kernel_check`). Only
faulty layers are computed in float, on the same grids.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gan_slimming.config import PORTABLE_WEIGHT_BITS

INT8_KERNELS = "LP_TRANSFORMS_MODE"
"""OpenVINO's setting that turns quantised layers into int8 ones."""
LAYERS = frozenset({
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
    "MatMul",
})  # fmt: skip
"""OpenVINO's operators that multiply weights with values."""
ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
"""The environment variable that keeps OpenVINO from using some of the CPU's instructions."""
KINDS = {
    "AVX2": {"avx2"},
    "AVX2_VNNI": {"avx2", "avx_vnni"},
    "AVX512_CORE": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "AVX512_CORE_VNNI": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"},
}
"""Kinds of x86 CPUs with different int8 kernels: value of ISA_LIMIT -> the flags that it needs."""
CODES = ":codes"
"""Suffix of a layer's path in the name of its weight's codes, in our own files."""
LOWEST = np.finfo(np.float32).min
_CORES: list[Any] = []
"""Cores that are never released: with OpenVINO 2026.4, a signal after a release can crash."""


def kinds_of_cpu() -> list[str]:
    """Return the kinds of CPUs that this one can imitate; none if ISA_LIMIT is set."""
    if os.environ.get(ISA_LIMIT):
        return []
    flags = set(cpu_flags().split())
    return [kind for kind, needed in KINDS.items() if needed <= flags]


@functools.cache
def cpu_flags() -> str:
    """Return the CPU's flags; empty if the system does not report them."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line for line in lines if line.startswith("flags")), "")
    return ""


def read_model(source: Path | bytes) -> Any:
    """Read a model from a file's path or its content."""
    return in_eight_bits(_own_core().read_model(source))


def in_eight_bits(model: Any) -> Any:
    """Turn weights stored in 4 bits into int8 constants, in place; return the model."""
    from openvino import opset13 as ops

    for op in model.get_ops():
        source = op.input_value(0).get_node() if op.get_type_name() == "Convert" else None
        if source is None or source.get_type_name() != "Constant":
            continue
        kinds = [value.get_element_type().get_type_name() for value in (source, op)]
        if kinds != ["i4", "i8"]:
            continue
        packed = np.asarray(source.data).view(np.uint8).ravel()
        halves = np.stack([packed & 15, packed >> 4], 1).ravel().astype(np.int8)
        codes = np.where(halves > 7, halves - 16, halves)[: prod(source.shape)]
        constant = ops.constant(codes.astype(np.int8).reshape(source.shape))
        constant.set_friendly_name(op.get_friendly_name())
        op.output(0).replace(constant.output(0))
    return model


def compile_request(model: Any, settings: dict[str, Any]) -> Any:
    """Compile a model for the CPU, in its own core; in one core, forms of a model share weights."""
    return _own_core().compile_model(model, "CPU", settings).create_infer_request()


def _own_core() -> Any:
    import openvino

    _CORES.append(openvino.Core())
    return _CORES[-1]


@functools.cache
def saturates() -> bool:
    """Return whether int8 convolutions saturate at large sums on this CPU, by running one."""
    import openvino
    from openvino import opset13 as ops

    codes = np.full((16, 16, 1, 1), 127, np.int8)
    values = ops.parameter([1, 16, 4, 4], np.float32)
    limits = np.float32(0), np.float32(255)
    quantized = ops.fake_quantize(values, *limits, *limits, 256)
    weight = ops.multiply(ops.convert(ops.constant(codes), "f32"), ops.constant(np.float32(1)))
    window = [1, 1], [0, 0], [0, 0], [1, 1]
    output = ops.convolution(quantized, weight, *window)
    model = openvino.Model([output], [values], "saturation")  # pyright: ignore
    request = compile_request(model, {"INFERENCE_PRECISION_HINT": "f32"})
    output = request.infer([np.full((1, 16, 4, 4), 255, np.float32)])[0]
    return bool(np.abs(output - 16 * 127 * 255).max() > 1)


def has_quantizers(model: Any) -> bool:
    """Return whether a model contains a quantiser."""
    return any(op.get_type_name() == "FakeQuantize" for op in model.get_ops())


@dataclass(frozen=True)
class Layer:
    """A layer with quantised input and weight.

    Attributes:
        op: OpenVINO's operator.
        quantizer: the FakeQuantize of its input.
        codes: the int8 constants of its weight.
    """

    op: Any
    quantizer: Any
    codes: list[Any]

    @property
    def path(self) -> str:
        """Return the layer's module path before the export; OpenVINO's name in other files."""
        names = [codes.get_friendly_name() for codes in self.codes]
        paths = [name.rpartition(CODES)[0] for name in names if CODES in name]
        return paths[0] if paths else self.op.get_friendly_name()


def quantized_layers(model: Any) -> dict[str, Layer]:
    """Return name -> quantised layer, sorted, because operators come in another order each time."""
    constants, layers = constants_of(model), {}
    for op in model.get_ops():
        if op.get_type_name() in LAYERS:
            quantizer, codes = _input_quantizer(op, constants), _codes(op, constants)
            if quantizer is not None and codes:
                layers[op.get_friendly_name()] = Layer(op, quantizer, codes)
    return dict(sorted(layers.items()))


def constants_of(model: Any) -> set[str]:
    """Return the names of operators that depend on constants and shapes alone."""
    constants: set[str] = set()
    for op in model.get_ordered_ops():
        operands = [value.get_node().get_friendly_name() for value in op.input_values()]
        fixed = op.get_type_name() in ("Constant", "ShapeOf")
        if fixed or (operands and constants.issuperset(operands)):
            constants.add(op.get_friendly_name())
    return constants


def values_of(op: Any, constants: set[str]) -> list[Any]:
    """Return the operators that another one reads, constants left out."""
    sources = (value.get_node() for value in op.input_values())
    return [other for other in sources if other.get_friendly_name() not in constants]


def _input_quantizer(op: Any, constants: set[str]) -> Any:
    """Return the FakeQuantize of a layer's input, behind operators that only move or scale."""
    op = op.input_value(0).get_node()
    while op.get_type_name() != "FakeQuantize":
        values = values_of(op, constants)
        if len(values) != 1 or op.get_type_name() in LAYERS:
            return None
        op = values[0]
    return op


def _codes(op: Any, constants: set[str]) -> list[Any]:
    """Return the int8 constants of a layer's weight."""
    waiting = [op.input_value(1).get_node()]
    if waiting[0].get_friendly_name() not in constants:
        return []
    codes = []
    while waiting:
        op = waiting.pop()
        waiting += [value.get_node() for value in op.input_values()]
        if op.get_type_name() == "Constant" and op.get_element_type().get_type_name() == "i8":
            codes.append(op)
    return codes


def wide_layers(model: Any) -> Iterator[str]:
    """Yield layers whose weights have more than PORTABLE_WEIGHT_BITS."""
    most = 2 ** (PORTABLE_WEIGHT_BITS - 1)
    for name, layer in quantized_layers(model).items():
        weights = (codes.data.astype(np.int16) for codes in layer.codes)
        if any(np.abs(weight).max(initial=0) > most for weight in weights):
            yield name


def keep_in_float(model: Any, names: Collection[str]) -> Any:
    """Keep some layers out of the int8 kernels, on the same grids; change and return the model.

    A no-op Max in front of the layer hides its quantiser from OpenVINO. Another in front of the
    quantiser keeps it from being folded, which goes wrong in float. The rounding of sums is hidden
    in the same way.
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
    """Keep every quantiser from being folded, in place, for a model without int8 kernels."""
    for layer in quantized_layers(model).values():
        _widen_codes(layer)
    for op in model.get_ordered_ops():
        if op.get_type_name() == "FakeQuantize":
            _insert_max(op.input(0))
    return model


def _widen_codes(layer: Layer) -> None:
    """Store a weight's codes as float32.

    OpenVINO 2026 has no float product of int8 on some CPUs.
    """
    from openvino import opset13 as ops

    for codes in layer.codes:
        wide = ops.constant(codes.data.astype(np.float32)).output(0)
        for reader in list(codes.output(0).get_target_inputs()):
            op = reader.get_node()
            if op.get_type_name() == "Convert" and op.get_output_element_type(0).is_real():
                op.output(0).replace(wide)


def _insert_max(port: Any) -> None:
    from openvino import opset13 as ops

    source = port.get_source_output()
    port.replace_source_output(ops.maximum(source, LOWEST).output(0))
