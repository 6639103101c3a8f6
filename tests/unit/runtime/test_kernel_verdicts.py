"""A verdict is asked for once, survives crashes, and decides what runs in float."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import ExtraInput, InputContract

for package in ("onnx", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from tests.unit.export.agreement import int8_file, int8_student  # noqa: E402

from gan_slimming.runtime import kernel_verdicts, openvino_int8  # noqa: E402
from gan_slimming.runtime.profiling import executed_layers  # noqa: E402
from gan_slimming.runtime.sessions import KernelWarning, open_runtime  # noqa: E402

pytestmark = pytest.mark.int8
CONTRACT = InputContract(multiple_of=4)


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
    return int8_student(Net(), torch.rand(2, 3, 32, 32) * 2 - 1)


@pytest.fixture
def content(student: nn.Module) -> bytes:
    return int8_file(student, CONTRACT)


def full_name(content: bytes, name: str) -> str:
    """OpenVINO's name of a layer."""
    layers = openvino_int8.quantized_layers(openvino_int8.read_model(content))
    return next(full for full, layer in layers.items() if layer.path == name)


def test_only_the_wrong_layer_runs_in_float(
    monkeypatch: pytest.MonkeyPatch, student: nn.Module, content: bytes, tmp_path: Path
) -> None:
    full = full_name(content, "two")
    monkeypatch.setattr(kernel_verdicts, "wrong_layers", lambda *_, **__: (full,))
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
        assert kernel_verdicts.wrong_layers(content, CONTRACT) == ("x_1",)
        assert kernel_verdicts.wrong_layers(content, CONTRACT, kind="AVX2") == ("x_1",)
    kernel_verdicts.wrong_layers(content, CONTRACT, precision="bf16")
    kernel_verdicts.wrong_layers(content + b" ", CONTRACT)
    assert [limit for limit, _ in checks] == ["DEFAULT", "AVX2", "DEFAULT", "DEFAULT"]


def test_a_cache_that_cannot_be_written_or_read_costs_the_check_again(
    checks: list[tuple[str, str]], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "gan-slimming").write_text("not a folder")
    for _ in range(2):
        assert kernel_verdicts.wrong_layers(content, CONTRACT) == ("x_1",)
    assert len(checks) == 2


def test_a_check_that_crashes_goes_without_cuts_and_then_all_is_wrong(
    monkeypatch: pytest.MonkeyPatch, checks: list[tuple[str, str]], content: bytes
) -> None:
    def crash(command: list[str], **_: Any) -> Any:
        checks.append(("", command[-1]))
        return SimpleNamespace(returncode=-11, stdout="")

    monkeypatch.setattr(subprocess, "run", crash)
    for _ in range(2):  # and it is not remembered: another time it may not crash
        wrong = kernel_verdicts.wrong_layers(content, CONTRACT)
    assert [cuts for _, cuts in checks] == ["cuts", "whole"] * 2
    model = openvino_int8.read_model(content)
    assert {*kernel_verdicts.paths_of(model, wrong)} == {"first", "one", "two", "last"}


@pytest.mark.parametrize("kind", openvino_int8.kinds_of_cpu() or [""])
def test_the_check_runs_as_on_other_kinds_of_cpu(kind: str, content: bytes) -> None:
    assert kernel_verdicts.wrong_layers(content, CONTRACT, kind=kind) == ()


def test_a_check_needs_no_program_to_start(
    monkeypatch: pytest.MonkeyPatch, content: bytes, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.executable", None)
    assert kernel_verdicts.wrong_layers(content, CONTRACT) == ()


def test_a_contract_with_further_inputs_reaches_the_check(
    monkeypatch: pytest.MonkeyPatch, content: bytes, tmp_path: Path
) -> None:
    found: list[InputContract] = []

    def run(command: list[str], **_: Any) -> Any:
        found.append(InputContract(**json.loads(command[-3])))
        return SimpleNamespace(returncode=0, stdout="[]\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    contract = InputContract(extras=(ExtraInput("label", 5), ExtraInput("mask")))
    assert kernel_verdicts.wrong_layers(content, contract) == ()
    assert found == [contract]
