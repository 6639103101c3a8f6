"""Faults of int8 kernels are found, blamed on the right layer, and remembered."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import InputContract

for package in ("onnx", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from gan_slimming import kernel_check, openvino_int8  # noqa: E402
from gan_slimming.executed import executed_layers  # noqa: E402
from gan_slimming.exporters.graph import trace  # noqa: E402
from gan_slimming.exporters.onnx import metadata_of, onnx_model  # noqa: E402
from gan_slimming.runtimes import KernelWarning, open_runtime, start_openvino  # noqa: E402

pytestmark = pytest.mark.int8
CONTRACT = InputContract(multiple_of=4)
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


class Net(nn.Module):
    """A residual block between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two = (nn.Conv2d(n, 8, 3, padding=1) for n in (3, 8, 8))
        self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.last(x + self.two(self.one(x).relu()))


@pytest.fixture
def student() -> nn.Module:
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    prepared = gs.prepare(Net().eval(), (images[:1],))
    gs.calibrate(prepared, [(images,)])
    return gs.extract(prepared)


@pytest.fixture
def content(student: nn.Module) -> bytes:
    traced = trace(student, CONTRACT, 32, quantized=True)
    return onnx_model(traced, "qdq", 17, metadata_of(CONTRACT, "qdq", "net", {}))[
        0
    ].SerializeToString()


def full_name(content: bytes, name: str) -> str:
    """OpenVINO's name of a layer."""
    layers = openvino_int8.quantized_layers(openvino_int8.read_model(content))
    return next(full for full, layer in layers.items() if layer.path == name)


def break_kernel(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the int8 kernel of one layer take its scales as eight times as large."""
    compiled = openvino_int8.compile_request

    def broken(model: Any, settings: dict[str, Any]) -> Any:
        from openvino import opset13 as ops

        layer = openvino_int8.quantized_layers(model).get(name)
        if layer is not None and layer.op.input_value(0).get_node().get_type_name() != "Maximum":
            scale = layer.op.input_value(1).get_node().input(1)
            raised = ops.multiply(scale.get_source_output(), np.float32(8))
            scale.replace_source_output(raised.output(0))
        return compiled(model, settings)

    monkeypatch.setattr(kernel_check, "compile_request", broken)


@pytest.mark.parametrize("name", ["first", "one", "two", "last"])
def test_a_wrong_kernel_is_blamed(
    monkeypatch: pytest.MonkeyPatch, content: bytes, name: str
) -> None:
    full = full_name(content, name)
    assert kernel_check.check_layers(content, F32, CONTRACT) == []
    break_kernel(monkeypatch, full)
    assert kernel_check.check_layers(content, F32, CONTRACT) == [full]
    # Without cuts the whole image shows it, and halving finds the layer.
    assert kernel_check.check_layers(content, F32, CONTRACT, cuts=()) == [full]


def test_only_the_wrong_layer_runs_in_float(
    monkeypatch: pytest.MonkeyPatch, student: nn.Module, content: bytes, tmp_path: Path
) -> None:
    full = full_name(content, "two")
    monkeypatch.setattr(kernel_check, "wrong_layers", lambda *_, **__: (full,))
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.warns(KernelWarning, match=r"net.onnx: 1 layer\(s\) \(two\) run in float"):
        opened = open_runtime(tmp_path / "net.onnx", "openvino", 1)
    assert opened.float_layers == ("two",)
    layers = {la.name: la for la in executed_layers(opened.native) if la.computes}
    in_float = [name for name, layer in layers.items() if not layer.int8]
    assert (len(layers), len(in_float), in_float[0].startswith("two")) == (4, 1, True)
    images = torch.rand(2, 3, 24, 40) * 2 - 1
    with torch.no_grad():
        expected = student(images).numpy()
    assert abs(opened(images.numpy()) - expected).mean() < 1e-3 * expected.std()


def test_in_float_no_layer_is_int8_and_the_image_the_same(
    student: nn.Module, content: bytes
) -> None:
    started = start_openvino(content, 1, kernels="float")
    assert not any(layer.int8 for layer in executed_layers(started.native) if layer.computes)
    images = torch.rand(2, 3, 24, 40) * 2 - 1
    with torch.no_grad():
        expected = student(images).numpy()
    assert abs(started.run(images.numpy()) - expected).mean() < 1e-3 * expected.std()


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """The (limit, cuts) that checks were started with; each answers that layer x is wrong."""
    started: list[tuple[str, str]] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> Any:
        started.append((env[openvino_int8.ISA_LIMIT], command[-1]))
        return SimpleNamespace(returncode=0, stdout='["x_1"]\n')

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(openvino_int8.ISA_LIMIT, raising=False)
    return started


def test_a_file_is_checked_once_for_each_kind_of_cpu(
    checks: list[tuple[str, str]], content: bytes
) -> None:
    for _ in range(2):
        assert kernel_check.wrong_layers(content, CONTRACT) == ("x_1",)
        assert kernel_check.wrong_layers(content, CONTRACT, kind="AVX2") == ("x_1",)
    kernel_check.wrong_layers(content, CONTRACT, precision="bf16")
    kernel_check.wrong_layers(content + b" ", CONTRACT)
    assert [limit for limit, _ in checks] == ["DEFAULT", "AVX2", "DEFAULT", "DEFAULT"]


def test_a_cache_that_cannot_be_written_or_read_costs_the_check_again(
    checks: list[tuple[str, str]], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "gan-slimming").write_text("not a folder")
    for _ in range(2):
        assert kernel_check.wrong_layers(content, CONTRACT) == ("x_1",)
    assert len(checks) == 2


def test_a_check_that_crashes_goes_without_cuts_and_then_all_is_wrong(
    monkeypatch: pytest.MonkeyPatch, checks: list[tuple[str, str]], content: bytes
) -> None:
    def crash(command: list[str], **_: Any) -> Any:
        checks.append(("", command[-1]))
        return SimpleNamespace(returncode=-11, stdout="")

    monkeypatch.setattr(subprocess, "run", crash)
    for _ in range(2):  # and it is not remembered: another time it may not crash
        wrong = kernel_check.wrong_layers(content, CONTRACT)
    assert [cuts for _, cuts in checks] == ["cuts", "whole"] * 2
    model = openvino_int8.read_model(content)
    assert {*kernel_check.paths_of(model, wrong)} == {"first", "one", "two", "last"}


@pytest.mark.parametrize("kind", openvino_int8.kinds_of_cpu() or [""])
def test_the_check_runs_as_on_other_kinds_of_cpu(kind: str, content: bytes) -> None:
    assert kernel_check.wrong_layers(content, CONTRACT, kind=kind) == ()


def test_kinds_of_cpu_follow_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(openvino_int8.ISA_LIMIT, raising=False)
    for flags, kinds in (
        ("sse4_1", []),
        ("avx2 avx", ["AVX2"]),
        ("avx2 avx_vnni", ["AVX2", "AVX2_VNNI"]),
        ("avx2 avx512f avx512bw avx512dq avx512vl", ["AVX2", "AVX512_CORE"]),
    ):
        monkeypatch.setattr(openvino_int8, "cpu_flags", lambda f=flags: f)
        assert openvino_int8.kinds_of_cpu() == kinds
    monkeypatch.setenv(openvino_int8.ISA_LIMIT, "AVX2")
    assert openvino_int8.kinds_of_cpu() == []


def test_layers_keep_their_paths_in_ir_whatever_is_fused(tmp_path: Path) -> None:
    from gan_slimming.exporters.openvino import save_ir

    layers: list[nn.Module] = []
    for inputs in (3, 8, 8):
        layers += [nn.Conv2d(inputs, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    images = torch.rand(2, 3, 16, 16)
    prepared = gs.prepare(nn.Sequential(*layers).eval(), (images[:1],))
    gs.calibrate(prepared, [(images,)])
    traced = trace(gs.extract(prepared), CONTRACT, 16, quantized=True)
    content = onnx_model(traced, "qdq", 17, {})[0].SerializeToString()
    path, _ = save_ir(content, tmp_path / "g.xml", {})
    for source in (content, path):
        found = openvino_int8.quantized_layers(openvino_int8.read_model(source)).values()
        assert sorted(layer.path for layer in found) == ["0", "3", "6"]


def test_a_check_needs_no_program_to_start(
    monkeypatch: pytest.MonkeyPatch, content: bytes, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.executable", None)
    assert kernel_check.wrong_layers(content, CONTRACT) == ()


def test_a_deep_network_is_no_deeper_than_a_program_may_be() -> None:
    layers = [nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh()) for _ in range(200)]
    images = torch.rand(1, 4, 8, 8)
    prepared = gs.prepare(nn.Sequential(*layers).eval(), (images,))
    gs.calibrate(prepared, [(images,)])
    traced = trace(gs.extract(prepared), InputContract(channels=4), 8, quantized=True)
    content = onnx_model(traced, "qdq", 17, {})[0].SerializeToString()
    assert len(openvino_int8.quantized_layers(openvino_int8.read_model(content))) == 200


def right_without(*culprits: str) -> Callable[[set[str]], bool]:
    return lambda in_float: {*culprits} <= in_float


@pytest.mark.parametrize("culprits", [("a",), ("e",), ("b", "c"), ("a", "g"), tuple("abcdefg")])
def test_halving_finds_the_culprits(culprits: tuple[str, ...]) -> None:
    found = kernel_check._culprits(list("abcdefg"), {"z"}, right_without(*culprits))
    assert found == {*culprits}


def test_a_piece_may_have_flips_and_no_more() -> None:
    random = np.random.default_rng(0)
    expected = random.standard_normal((1, 8, 16, 16)).astype(np.float32)
    flipped = expected.copy()
    flipped[0, 0, 0, :4] += 0.05
    assert kernel_check.is_near(flipped, expected)
    assert kernel_check.is_near(expected[:0], expected[:0])
    assert not kernel_check.is_near(expected * 1.1, expected)
    assert not kernel_check.is_near(expected[:, :4], expected)
    saturated = expected.copy()
    saturated[0, 0, 0, 0] += 2
    assert not kernel_check.is_near(saturated, expected)
    assert not kernel_check.is_near(expected * np.nan, expected)


def test_inputs_are_made_up_for_what_the_generator_takes(content: bytes) -> None:
    model = openvino_int8.read_model(content)
    (image,) = kernel_check.made_up_inputs(model, InputContract(multiple_of=48, low=0, high=255))
    assert image.shape == (1, 3, 96, 96)
    assert 0 <= image.min() < 60
    assert 200 < image.max() <= 255
    noise, label = kernel_check.made_up_inputs(model, InputContract(latent_size=7, classes=3))
    assert (noise.shape, label.tolist()) == ((1, 7), [0])
    (unknown,) = kernel_check.made_up_inputs(model, None)
    assert unknown.shape == (1, 3, 64, 64)
