"""Weights of 4 bits take half a byte in .onnx, and every runtime draws the same with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gan_slimming as gs

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

import onnx  # noqa: E402
from onnx import TensorProto, numpy_helper  # noqa: E402

from gan_slimming.export.export_model import export_model  # noqa: E402
from gan_slimming.export.four_bits import store_in_four_bits  # noqa: E402
from gan_slimming.runtime.openvino_int8 import quantized_layers, read_model  # noqa: E402
from gan_slimming.runtime.sessions import open_runtime  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::gan_slimming.export.export_model.ExportWarning")


def student(weight_bits: int) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(32, 33, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(33, 3, 3, 2, 1),
    )  # fmt: skip
    image = torch.rand(1, 3, 16, 16)
    prepared = gs.prepare(net, (image,), bits=8, weight_bits=weight_bits)
    gs.calibrate(prepared, [(image,)])
    return gs.extract(prepared)


def kinds(path: Path) -> set[int]:
    tensors = onnx.load(path).graph.initializer
    return {t.data_type for t in tensors if len(t.dims) == 4}


def test_files_of_half_a_byte_draw_the_same(tmp_path: Path) -> None:
    net, image = student(4), torch.rand(2, 3, 20, 24).numpy()
    packed, plain = tmp_path / "packed.onnx", tmp_path / "plain.onnx"
    told = export_model(net, packed, cpus="own")
    bytes_each = export_model(net, plain, cpus="own", opset=20)["size_bytes"]
    assert (told["opset"], told["quantized_layers"], told["float_layers"]) == (21, 3, [])
    assert kinds(packed) == {TensorProto.INT4}
    assert kinds(plain) == {TensorProto.INT8}
    codes = sum(p.numel() for p in net.parameters() if p.dim() == 4)
    assert told["size_bytes"] < bytes_each - 0.45 * codes
    for runtime in ("onnxruntime", "openvino"):
        drawn = [open_runtime(path, runtime, 1)(image) for path in (packed, plain)]
        np.testing.assert_array_equal(drawn[0], drawn[1])
    paths = [
        {layer.path for layer in quantized_layers(read_model(path)).values()}
        for path in (packed, plain)
    ]
    assert paths[0] == paths[1] == {"0", "2", "4"}


def test_more_bits_and_other_forms_stay_in_bytes(tmp_path: Path) -> None:
    assert export_model(student(5), tmp_path / "a.onnx", cpus="own")["opset"] == 17
    told = export_model(student(4), tmp_path / "b.onnx", quantization="integer", cpus="own")
    assert told["opset"] == 17


def test_codes_that_fit_are_packed_exactly() -> None:
    narrow = np.arange(-8, 7, dtype=np.int8).reshape(3, 5)  # an odd number of them
    wide = np.array([[-9, 0]], np.int8)
    tensors = [numpy_helper.from_array(narrow, "a"), numpy_helper.from_array(wide, "b")]
    nodes = [onnx.helper.make_node("Identity", [n], [f"{n}_out"]) for n in "ab"]
    outputs = [
        onnx.helper.make_tensor_value_info(f"{n}_out", TensorProto.INT8, shape)
        for n, shape in (("a", (3, 5)), ("b", (1, 2)))
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], outputs, tensors))
    store_in_four_bits(model)
    first, second = model.graph.initializer
    assert (first.name, first.data_type, len(first.raw_data)) == ("a:int4", TensorProto.INT4, 8)
    assert (second.name, second.data_type) == ("b", TensorProto.INT8)
    np.testing.assert_array_equal(numpy_helper.to_array(first).astype(np.int8), narrow)
    assert [node.op_type for node in model.graph.node] == ["Cast", "Identity", "Identity"]
