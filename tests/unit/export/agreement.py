"""How far an exported generator is from the one in torch, and int8 students to export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import InputContract
from gan_slimming.export import parity
from gan_slimming.export.content import metadata_of
from gan_slimming.export.onnx import onnx_model
from gan_slimming.export.trace.graph import trace

RUNTIMES = ("onnxruntime", "openvino")
CONTRACT = InputContract(channels=4, multiple_of=4)
SHAPES = ((1, 4, 16, 16), (2, 4, 12, 24), (3, 4, 28, 20))
"""Batches and sizes, most of them not square, none of them traced but the first."""


def kinds(module: nn.Module, contract: InputContract = CONTRACT) -> list[str]:
    """The operators of the float form, in order."""
    model, _ = onnx_model(trace(module.eval(), contract, 16, quantized=False), "none", 17, {})
    return [node.op_type for node in model.graph.node]


def difference(
    module: nn.Module, contract: InputContract = CONTRACT, opset: int = 17,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
) -> float:  # fmt: skip
    """Greatest difference of the float form in any runtime, relative to the largest value."""
    module.eval()
    model, _ = onnx_model(trace(module, contract, 16, quantized=False), "none", opset, {})
    generator = torch.Generator().manual_seed(3)
    given = [(torch.rand(shape, generator=generator) * 2 - 1,) for shape in shapes]
    with torch.no_grad():
        extent = max(float(module(*inputs).abs().max()) for inputs in given)
    found = parity.differences(module, model.SerializeToString(), given, RUNTIMES)
    return max(found.values()) / max(extent, 1.0)


def int8_student(net: nn.Module, images: Tensor, **how: Any) -> nn.Module:
    """A calibrated student of a net, nothing cut away; `how` goes to prepare."""
    prepared = gs.prepare(net.eval(), (images[:1],), **how)
    gs.calibrate(prepared, [(images,)])
    return gs.extract(prepared)


def int8_file(
    student: nn.Module, contract: InputContract, form: Any = "qdq", side: int = 32
) -> bytes:
    """Its ONNX file, with the contract in it."""
    traced = trace(student, contract, side, quantized=True)
    metadata = metadata_of(contract, form, "net", {})
    return onnx_model(traced, form, 17, metadata)[0].SerializeToString()
