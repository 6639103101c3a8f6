"""The execution of a model in a runtime: its layers, their kernels and their times."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ExecutedLayer:
    """A layer as OpenVINO executes it."""

    name: str
    kind: str
    precision: str
    kernel: str
    stands_for: tuple[str, ...]

    @property
    def int8(self) -> bool:
        return self.precision.lower() in ("i8", "u8")

    @property
    def computes(self) -> bool:
        """Return whether it multiplies weights with activations."""
        return self.kind in ("Convolution", "Deconvolution", "MatMul", "FullyConnected")


def executed_layers(request: Any) -> list[ExecutedLayer]:
    """Return the layers in the execution graph of an OpenVINO request (`RuntimeModel.native`)."""
    layers = []
    for op in request.get_compiled_model().get_runtime_model().get_ordered_ops():
        info = {key: value.astype(str) for key, value in op.get_rt_info().items()}
        layers.append(
            ExecutedLayer(
                op.get_friendly_name(),
                info.get("layerType", ""),
                info.get("runtimePrecision", ""),
                info.get("primitiveType", ""),
                tuple(info.get("originalLayersNames", "").split(",")),
            )
        )
    return layers


def layer_times(native: Any) -> list[dict[str, Any]]:
    """Return the time of each layer of a model opened with `profile`, slowest first.

    Args:
        native: `RuntimeModel.native`. OpenVINO reports its last run. ONNX Runtime reports the
            median of all runs, and only once.
    Returns:
        name, kind, kernel (for ONNX Runtime the type of its input) and latency_ms.
    """
    rows = _openvino_times(native) if hasattr(native, "profiling_info") else _onnx_times(native)
    return sorted(rows, key=lambda row: -row["latency_ms"])


def _openvino_times(request: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": info.node_name,
            "kind": info.node_type,
            "kernel": info.exec_type,
            "latency_ms": info.real_time.total_seconds() * 1e3,
        }
        for info in request.profiling_info
        if info.real_time.total_seconds() > 0
    ]


def _onnx_times(session: Any) -> list[dict[str, Any]]:
    path = Path(session.end_profiling())
    events = json.loads(path.read_text())
    path.unlink()
    times: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        args = event.get("args", {})
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            reads = next((kind for shape in args.get("input_type_shape", []) for kind in shape), "")
            key = (event["name"].removesuffix("_kernel_time"), args.get("op_name", ""), reads)
            times.setdefault(key, []).append(event["dur"] / 1e3)
    return [
        {"name": name, "kind": kind, "kernel": reads, "latency_ms": statistics.median(durations)}
        for (name, kind, reads), durations in times.items()
    ]


FLOAT_KINDS = ("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "MatMul", "FusedGemm")
"""ONNX Runtime's operators that multiply weights with activations in float."""


def float_kernels(native: Any, layers: list[dict[str, Any]]) -> list[str]:
    """Return the names of convolutions and linear layers that did not run in int8.

    Args:
        native: `RuntimeModel.native`.
        layers: from `layer_times`; only ONNX Runtime needs them.
    """
    if hasattr(native, "profiling_info"):
        executed = (layer for layer in executed_layers(native) if layer.computes)
        return [layer.name for layer in executed if not layer.int8]
    return [layer["name"] for layer in layers if layer["kind"] in FLOAT_KINDS]


INT8_KINDS = (
    "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QGemm",
    "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
)  # fmt: skip
"""ONNX Runtime's operators that multiply weights with activations in int8."""


def int8_kernels(layers: list[dict[str, Any]]) -> list[str]:
    """Return the names of convolutions and linear layers that ONNX Runtime ran in int8.

    Args:
        layers: from `layer_times`.
    """
    return [layer["name"] for layer in layers if layer["kind"].removeprefix("Nhwc") in INT8_KINDS]
