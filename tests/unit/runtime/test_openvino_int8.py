"""Files compute what was trained on every CPU, whatever its int8 kernels do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.config import InputContract

for package in ("onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from tests.unit.export.agreement import int8_file, int8_student  # noqa: E402

from gan_slimming.export.openvino import save_ir  # noqa: E402
from gan_slimming.runtime import flips, kernel_check, openvino_int8  # noqa: E402
from gan_slimming.runtime.profiling import executed_layers  # noqa: E402
from gan_slimming.runtime.sessions import start_onnxruntime, start_openvino  # noqa: E402

pytestmark = pytest.mark.int8
CONTRACT = InputContract(multiple_of=4)
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


class Joined(nn.Module):
    """Negative inputs behind a concatenation and a pad, and a norm with negative scales."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(32, 8, 3)
        self.norm, self.last = nn.GroupNorm(1, 8), nn.Conv2d(8, 3, 1)
        nn.init.uniform_(self.norm.weight, -1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = F.pad(torch.cat([y, y.tanh()], 1), (1, 1, 1, 1), mode="reflect")
        return self.last(F.relu(self.norm(self.second(y))))


def student_and_file(net: nn.Module, weight_bits: int, form: Any) -> tuple[nn.Module, bytes]:
    student = int8_student(net, torch.rand(2, 3, 32, 32) * 2 - 1, weight_bits=weight_bits)
    return student, int8_file(student, CONTRACT, form)


@pytest.mark.parametrize("weight_bits", [7, 8])
def test_openvino_computes_what_was_trained_on_this_cpu(weight_bits: int) -> None:
    torch.manual_seed(0)
    student, content = student_and_file(Joined(), weight_bits, "qdq")
    images = torch.rand(2, 3, 24, 40) * 2 - 1
    with torch.no_grad():
        expected = student(images).numpy()
    made = start_openvino(content, 1)[0](images.numpy())
    assert abs(made - expected).mean() < 1e-3 * expected.std()  # a rounding flip here and there


def in_int8(content: bytes) -> set[bool]:
    layers = executed_layers(start_openvino(content, 1).native)
    return {layer.int8 for layer in layers if layer.computes}


def test_a_network_that_amplifies_flips_is_in_int8_nevertheless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.ReLU()]
    for _ in range(9):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.ReLU()]
    content = student_and_file(nn.Sequential(*layers, nn.Conv2d(8, 3, 1)), 7, "qdq")[1]
    monkeypatch.setattr(flips, "FLIPS", 0.0)
    assert kernel_check.check_layers(content, F32, CONTRACT) == []
    monkeypatch.setattr(flips, "MORE", 0.0)
    assert len(kernel_check.check_layers(content, F32, CONTRACT)) == 11


GIVEN_UP = """
import pathlib, signal, sys
from gan_slimming.runtime import kernel_verdicts
from gan_slimming.runtime.sessions import start_openvino
kernel_verdicts.wrong_layers = lambda source, *_, **__: list(
    kernel_verdicts.quantized_layers(kernel_verdicts.read_model(source)))
start_openvino(pathlib.Path(sys.argv[1]), 1)
signal.signal(signal.SIGINT, lambda number, frame: print("asked", flush=True))
signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_is_heard_after_a_model_was_given_up(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.Conv2d(8, 3, 1))
    (tmp_path / "g.onnx").write_bytes(student_and_file(net, 7, "qdq")[1])
    command = [sys.executable, "-c", GIVEN_UP, str(tmp_path / "g.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "asked"), done.stderr[-300:]


def test_what_is_wrong_by_more_than_flips_is_told_from_them() -> None:
    random = np.random.default_rng(0)
    expected = random.standard_normal((1, 3, 32, 32))
    near, far = (expected + e * random.standard_normal(expected.shape) for e in (0.1, 0.3))
    assert flips.only_flips(near, expected, near)
    assert not flips.only_flips(far, expected, near)
    assert not flips.only_flips(near, expected, expected)
    assert not flips.only_flips(expected * np.nan, expected, near)


@pytest.mark.parametrize("weight_bits", [7, 8])
def test_onnxruntimes_integers_fit_every_cpus_sums(weight_bits: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1))
    for parameter in net.parameters():  # sums as large as they can get
        parameter.data = parameter.data.sign()
    student, content = student_and_file(net, weight_bits, "integer")
    images = torch.ones(1, 3, 24, 40)
    with torch.no_grad():
        expected = student(images).numpy()
    made = start_onnxruntime(content, 1)[0](images.numpy())
    assert abs(made - expected).max() < 1e-5 * np.ptp(expected)


def test_wide_weights_are_computed_in_float_where_int8_would_saturate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    content = {bits: student_and_file(net, bits, "qdq")[1] for bits in (7, 8)}
    assert in_int8(content[7]) == {True}
    assert in_int8(content[8]) == {not kernel_check.saturates()}
    for saturates, wrong in ((True, 2), (False, 0)):
        monkeypatch.setattr(kernel_check, "saturates", lambda s=saturates: s)
        assert kernel_check.check_layers(content[7], F32, CONTRACT) == []
        if saturates or in_int8(content[8]) == {True}:
            assert len(kernel_check.check_layers(content[8], F32, CONTRACT)) == wrong


class Mixed(nn.Module):
    """Skips joined below zero, pads and shuffles behind them, norms with negative scales."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 4, 2, 1)
        self.up = nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.join, self.norm = nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16)
        self.wide, self.last = nn.Conv2d(16, 32, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
        nn.init.uniform_(self.norm.weight, -1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(x), 0.2)
        y = torch.cat([x, self.up(F.leaky_relu(self.down(x), 0.2))], 1)
        y = self.norm(self.join(F.pad(y, (1, 1, 1, 1), mode="reflect")))
        return self.last(F.avg_pool2d(F.pixel_shuffle(self.wide(F.relu(y)), 2), 2))


@pytest.mark.parametrize("outputs", [False, True])
def test_joins_pads_shuffles_and_negative_scales_are_right_in_int8(outputs: bool) -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    student = int8_student(Mixed(), images, quantize_outputs=outputs)
    content = int8_file(student, CONTRACT)
    images = torch.rand(1, 3, 24, 40) * 2 - 1
    with torch.no_grad():
        expected = student(images).numpy()
    made = start_openvino(content, 1, kernels="unchecked").run(images.numpy())
    assert abs(made - expected).mean() < 5e-3 * expected.std()
    assert in_int8(content) == {True}


@pytest.mark.parametrize("side", [1, 2])
def test_sums_of_one_pixel_are_rounded_right(side: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 16, 16), nn.ReLU(), nn.Conv2d(16, 3, 1)).eval()
    images = torch.rand(2, 3, 16 * side, 16 * side) * 2 - 1
    student = int8_student(net, images, quantize_outputs=True)
    content = int8_file(student, InputContract(multiple_of=16))
    with torch.no_grad():
        expected = student(images[:1]).numpy()
    made = start_openvino(content, 1, kernels="unchecked").run(images[:1].numpy())
    assert abs(made - expected).max() < 1e-4 * abs(expected).max()


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
    layers: list[nn.Module] = []
    for inputs in (3, 8, 8):
        layers += [nn.Conv2d(inputs, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    images = torch.rand(2, 3, 16, 16)
    content = int8_file(int8_student(nn.Sequential(*layers), images), CONTRACT)
    path, _ = save_ir(content, tmp_path / "g.xml", {})
    for source in (content, path):
        found = openvino_int8.quantized_layers(openvino_int8.read_model(source)).values()
        assert sorted(layer.path for layer in found) == ["0", "3", "6"]


def test_a_deep_network_is_no_deeper_than_a_program_may_be() -> None:
    layers = [nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh()) for _ in range(200)]
    images = torch.rand(1, 4, 8, 8)
    student = int8_student(nn.Sequential(*layers), images)
    content = int8_file(student, InputContract(channels=4), side=8)
    assert len(openvino_int8.quantized_layers(openvino_int8.read_model(content))) == 200
