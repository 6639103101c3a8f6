"""Faults of int8 kernels are found, blamed on the right layer, and remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract

for package in ("onnx", "openvino"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from tests.unit.export.agreement import int8_file, int8_student  # noqa: E402

from gan_slimming.runtime import kernel_check, openvino_int8  # noqa: E402
from gan_slimming.runtime.profiling import executed_layers  # noqa: E402
from gan_slimming.runtime.sessions import start_openvino  # noqa: E402

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
    return int8_student(Net(), torch.rand(2, 3, 32, 32) * 2 - 1)


@pytest.fixture
def content(student: nn.Module) -> bytes:
    return int8_file(student, CONTRACT)


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


def test_in_float_no_layer_is_int8_and_the_image_the_same(
    student: nn.Module, content: bytes
) -> None:
    started = start_openvino(content, 1, kernels="float")
    assert not any(layer.int8 for layer in executed_layers(started.native) if layer.computes)
    images = torch.rand(2, 3, 24, 40) * 2 - 1
    with torch.no_grad():
        expected = student(images).numpy()
    assert abs(started.run(images.numpy()) - expected).mean() < 1e-3 * expected.std()


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
