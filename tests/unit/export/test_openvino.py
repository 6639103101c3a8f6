"""What OpenVINO really executes, and the IR on disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.errors import UserError
from gan_slimming.export.trace.graph import trace
from gan_slimming.export.trace.integers import quantized_layers
from gan_slimming.models.registry import spec_of

pytest.importorskip("onnx", reason="onnx is not installed: pip install '.[export]'")
pytest.importorskip("openvino", reason="openvino is not installed: pip install '.[export]'")

from gan_slimming.export import parity
from gan_slimming.export.onnx import onnx_model
from gan_slimming.export.openvino import save_ir
from gan_slimming.runtime.profiling import executed_layers
from gan_slimming.runtime.sessions import open_runtime, start_openvino

pytestmark = pytest.mark.int8
CONTRACT = InputContract(multiple_of=4)
RUNTIME = ["openvino"]


def test_no_convolution_that_training_quantised_runs_in_float(
    student: nn.Module, tmp_path: Path
) -> None:
    traced = trace(student, CONTRACT, 32, quantized=True)
    content = onnx_model(traced, "qdq", 17, {})[0].SerializeToString()
    save_ir(content, tmp_path / "g.xml", {})
    for source in (content, tmp_path / "g.xml"):
        layers = executed_layers(start_openvino(source, 1)[1])
        found = [layer for layer in layers if layer.computes]
        assert len(found) == len(quantized_layers(student))
        assert [layer.name for layer in found if not layer.int8] == []


class ReadTwice(nn.Module):
    """A convolution without a bias, whose output two operators read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(10, 3, 1)
        self.bare = nn.Conv2d(6, 5, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bare(F.relu(self.first(x)))
        return self.last(torch.cat([y - y.mean((1, 2, 3), keepdim=True), F.gelu(y)], 1))


@pytest.mark.parametrize("outputs", [False, True])
def test_a_layer_without_bias_that_is_read_twice_keeps_its_scale(outputs: bool) -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    prepared = gs.prepare(ReadTwice().eval(), (images[:1],), quantize_outputs=outputs)
    gs.calibrate(prepared, [(images,)])
    small = gs.extract(prepared)
    traced = trace(small, CONTRACT, 32, quantized=True)
    run = start_openvino(onnx_model(traced, "qdq", 17, {})[0].SerializeToString(), 1)[0]
    with torch.no_grad():
        expected = small(images).numpy()
    assert abs(run(images.numpy()) - expected).mean() < 1e-3 * expected.std()


def test_in_the_float_form_none_is_int8(student: nn.Module) -> None:
    traced = trace(student, CONTRACT, 32, quantized=False)
    content = onnx_model(traced, "none", 17, {})[0].SerializeToString()
    found = [la for la in executed_layers(start_openvino(content, 1)[1]) if la.computes]
    assert len(found) == len(quantized_layers(student))
    assert not any(layer.int8 for layer in found)


def test_layers_and_float_form_agree_with_torch(student: nn.Module) -> None:
    traced = trace(student, CONTRACT, 32, quantized=True)
    given = dummy_inputs(CONTRACT, (36, 28))
    rows = parity.check_layers(student, traced, "qdq", 17, given, RUNTIME)
    assert {row.layer for row in rows} == set(traced.layers)
    plain = trace(student, CONTRACT, 32, quantized=False)
    content = onnx_model(plain, "none", 17, {})[0].SerializeToString()
    images = [dummy_inputs(CONTRACT, side) for side in ((32, 32), (40, 24))]
    assert parity.check_float(student, content, images, RUNTIME)["openvino"] < 1e-4


@pytest.mark.parametrize("in_float", [1.0, 1.1])
def test_a_layer_that_kernels_get_wrong_is_tried_in_float(
    monkeypatch: pytest.MonkeyPatch, student: nn.Module, in_float: float
) -> None:
    start = parity.start_openvino

    def wrong(content: bytes, threads: int, *, kernels: Any) -> Any:
        factor = 1.1 if kernels == "unchecked" else in_float
        started = start(content, threads, kernels=kernels)
        return started._replace(run=lambda *given: factor * started.run(*given))

    monkeypatch.setattr(parity, "start_openvino", wrong)
    traced = trace(student, CONTRACT, 32, quantized=True)
    given = dummy_inputs(CONTRACT, (36, 28))
    if in_float == 1.0:
        rows = parity.check_layers(student, traced, "qdq", 17, given, RUNTIME)
        assert {(row.in_float, row.error < 1e-5) for row in rows} == {(True, True)}
    else:
        with pytest.raises(UserError, match="differ from what was trained"):
            parity.check_layers(student, traced, "qdq", 17, given, RUNTIME)


def test_an_image_that_is_off_is_refused(
    monkeypatch: pytest.MonkeyPatch, student: nn.Module
) -> None:
    traced = trace(student, CONTRACT, 32, quantized=True)
    content = onnx_model(traced, "qdq", 17, {})[0].SerializeToString()
    given = dummy_inputs(CONTRACT, (32, 32))
    assert parity.check_image(student, content, given, RUNTIME)["openvino"] < 0.02
    start = start_openvino

    def shifted(*arguments: Any) -> Any:
        started = start(*arguments)
        return started._replace(run=lambda *given: started.run(*given) + 1)

    monkeypatch.setitem(parity.START, "openvino", shifted)
    with pytest.raises(UserError, match="nothing is written"):
        parity.check_image(student, content, given, RUNTIME)


def test_the_ir_is_small_and_says_how_to_feed_it(student: nn.Module, tmp_path: Path) -> None:
    contract = spec_of(student).contract
    traced = trace(student, contract, 32, quantized=True)
    content = onnx_model(traced, "qdq", 17, {})[0].SerializeToString()
    metadata = {"form": "qdq", "contract": vars(contract), "provenance": {"seed": 3}}
    files = save_ir(content, tmp_path / "g.xml", metadata)
    weights = sum(layer.codes.size for layer in traced.layers.values() if layer.codes is not None)
    assert files[1].stat().st_size < 2 * weights + 20_000
    opened = open_runtime(files[0], threads=1)
    assert opened.contract == contract
    assert opened.metadata == json.loads(json.dumps(metadata))
    assert opened.size_bytes == sum(file.stat().st_size for file in files)
    given = dummy_inputs(contract, (40, 24))
    made, reference = (run(given[0].numpy()) for run in (opened, start_openvino(content, 1)[0]))
    assert abs(made - reference).max() < 0.05
