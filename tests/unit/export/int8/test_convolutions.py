"""The forms in which quantised layers are written: the same numbers, and no zero points."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import InputContract
from gan_slimming.export.trace.graph import trace

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install '.[export]'")

from onnx import ModelProto, numpy_helper  # noqa: E402
from tests.unit.export.agreement import int8_student  # noqa: E402

from gan_slimming.export.onnx import onnx_model  # noqa: E402
from gan_slimming.runtime.sessions import start_onnxruntime  # noqa: E402

CONTRACT = InputContract(multiple_of=4)


def student_of(*layers: nn.Module, outputs: bool = False) -> nn.Module:
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    return int8_student(nn.Sequential(*layers), images, quantize_outputs=outputs)


def file_of(student: nn.Module, form: str = "qdq") -> tuple[ModelProto, list[str]]:
    return onnx_model(trace(student, CONTRACT, 32, quantized=True), form, 17, {})  # pyright: ignore


def kinds(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def assert_computed(student: nn.Module, model: ModelProto) -> None:
    images = torch.rand(2, 3, 24, 40) * 2 - 1
    with torch.no_grad():
        expected = student(images).numpy()
    made = start_onnxruntime(model.SerializeToString(), 1).run(images.numpy())
    assert abs(made - expected).mean() < 1e-3 * expected.std()  # a flip here and there


def zero_points(model: ModelProto, operator: str) -> set[int]:
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = [held[n.input[2]] for n in model.graph.node if n.op_type == operator]
    return {int(value) for zero in found for value in np.unique(zero)}


PADS = [nn.ReflectionPad2d(1), nn.ReplicationPad2d((2, 0, 1, 1)), nn.Identity()]


@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize("pad", PADS)
def test_signed_inputs_are_raised_where_no_zeros_are_padded(pad: nn.Module, outputs: bool) -> None:
    student = student_of(nn.Conv2d(3, 8, 1), pad, nn.Conv2d(8, 3, 3, padding=0), outputs=outputs)
    model, _ = file_of(student)
    assert zero_points(model, "QuantizeLinear") - {0} == {128}
    # What is raised by 128 steps stays so, and its share of the sums goes into the bias.
    assert zero_points(model, "DequantizeLinear") == {0}
    assert_computed(student, model)


@pytest.mark.parametrize("form", ["qdq", "integer"])
@pytest.mark.parametrize(
    "pads",
    [
        [nn.ZeroPad2d(1)],
        [nn.ZeroPad2d((3, 1, 0, 2))],
        [nn.ReflectionPad2d(2), nn.ZeroPad2d(1)],
    ],
)
def test_padded_zeros_go_into_the_window(pads: list[nn.Module], form: str) -> None:
    student = student_of(nn.Conv2d(3, 8, 1), *pads, nn.Conv2d(8, 3, 3, padding=1))
    model, _ = file_of(student, form)
    modes = [
        a.s for n in model.graph.node if n.op_type == "Pad" for a in n.attribute if a.name == "mode"
    ]
    assert modes.count(b"constant") == 0
    assert_computed(student, model)


@pytest.mark.parametrize("form", ["qdq", "integer"])
@pytest.mark.parametrize("outputs", [False, True])
@pytest.mark.parametrize(
    "window", [(3, 2, 1, 0), (4, 2, 0, 0), (3, 1, 1, 0), (4, 1, 0, 0), (5, 3, 1, 0), (2, 3, 0, 1)]
)
def test_every_transposed_convolution_of_one_stride_is_in_integers(
    window: tuple[int, int, int, int], outputs: bool, form: str
) -> None:
    up = nn.ConvTranspose2d(8, 6, *window)
    student = student_of(
        nn.Conv2d(3, 8, 1), nn.ReLU(), up, nn.Tanh(), nn.Conv2d(6, 3, 1), outputs=outputs
    )
    model, in_float = file_of(student, form)
    assert in_float == []
    assert kinds(model)["ConvTranspose"] == 0
    assert_computed(student, model)


def test_a_transposed_convolution_of_one_pixel_multiplies_no_zeros() -> None:
    class Noise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.last = nn.ConvTranspose2d(8, 16, 4), nn.Conv2d(16, 3, 1)

        def forward(self, z: Tensor) -> Tensor:
            return self.last(self.up(z.view(-1, 8, 1, 1)).relu())

    prepared = gs.prepare(Noise().eval(), (torch.randn(1, 8),))
    gs.calibrate(prepared, [(torch.randn(16, 8),)])
    student = gs.extract(prepared)
    traced = trace(student, InputContract(latent_size=8), 4, quantized=True)
    model, _ = onnx_model(traced, "qdq", 17, {})
    shapes = [tuple(t.dims) for t in model.graph.initializer if ":codes" in t.name]
    assert (256, 8, 1, 1) in shapes
    latents = torch.randn(3, 8)
    with torch.no_grad():
        expected = student(latents).numpy()
    made = start_onnxruntime(model.SerializeToString(), 1).run(latents.numpy())
    assert abs(made - expected).max() < 1e-4 * abs(expected).max()
