"""Wider channel spaces: the same images, and only where nothing can go wrong."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.export.kernels.widening import pad_axis, widths_of
from gan_slimming.export.trace.graph import TracedGenerator, trace
from gan_slimming.graph.nodes import module_path, operator_name
from gan_slimming.models.registry import build_generator

CONTRACT = InputContract(multiple_of=4)


def quantized(net: nn.Module, outputs: bool = False) -> nn.Module:
    prepared = gs.prepare(net.eval(), (torch.zeros(1, 3, 16, 16),), quantize_outputs=outputs)
    gs.calibrate(prepared, [(torch.rand(2, 3, 16, 16) * 2 - 1,)])
    return gs.extract(prepared)


def widened(traced: TracedGenerator) -> dict[str, int]:
    """Convolution -> its channels in the file."""
    found = widths_of(traced, 16).items()
    return {module_path(n): width for n, width in found if operator_name(n) == "conv2d"}


@pytest.fixture(scope="module")
def student() -> nn.Module:
    """A CycleGAN of 12, 24 and 48 channels, with random weights."""
    teacher = build_generator("cyclegan", width=12, blocks=2)
    for parameter in teacher.parameters():
        nn.init.normal_(parameter, std=0.1)
    return quantized(teacher)


def test_spaces_that_a_norm_reads_become_multiples_of_16(student: nn.Module) -> None:
    found = widened(trace(student, CONTRACT, 32, quantized=True))
    assert sorted(found.values()) == [16, 32]  # 48 is one already; shuffles keep theirs


def test_the_file_computes_the_same_image(student: nn.Module) -> None:
    pytest.importorskip("onnxruntime", reason="pip install '.[export]'")
    from gan_slimming.export.onnx import onnx_model
    from gan_slimming.runtime.sessions import start_onnxruntime

    traced = trace(student, CONTRACT, 32, quantized=True)
    content = onnx_model(traced, "qdq", 17, {})[0]
    shapes = [tuple(t.dims) for t in content.graph.initializer if len(t.dims) == 4]
    assert (16, 3, 7, 7) in shapes
    traced.layers.clear()  # without quantisers nothing rounds, and nothing is widened
    assert widths_of(traced, 16) == {}
    image = torch.rand(1, 3, 24, 36) * 2 - 1
    made = start_onnxruntime(content.SerializeToString(), 1)[0](image.numpy())
    with torch.no_grad():
        expected = student(image).numpy()
    # Random weights amplify single rounding flips, but most pixels have none.
    assert np.median(np.abs(made - expected)) < 1e-2


def test_spaces_that_are_written_as_bytes_become_multiples_of_8(student: nn.Module) -> None:
    pytest.importorskip("onnxruntime", reason="pip install '.[export]'")
    from gan_slimming.export import parity
    from gan_slimming.export.onnx import onnx_model

    in_float = trace(student, CONTRACT, 32, quantized=True)
    assert widths_of(in_float, 8, on_bytes=True) == {}  # ConvInteger copies what comes in
    rounding = quantized(build_generator("cyclegan", width=9, blocks=1), outputs=True)
    traced = trace(rounding, CONTRACT, 32, quantized=True)
    found = widths_of(traced, 8, on_bytes=True)
    assert set(found.values()) == {16, 24, 40}  # of 9, 18 and 36
    content, _ = onnx_model(traced, "integer", 17, {})
    shapes = [tuple(t.dims) for t in content.graph.initializer if len(t.dims) == 4]
    assert (40, 40, 3, 3) in shapes
    given = dummy_inputs(CONTRACT, (36, 28))
    rows = parity.check_layers(rounding, traced, "integer", 17, given, ["onnxruntime"])
    assert {row.layer for row in rows} == set(traced.layers)


class Branches(nn.Module):
    """A space that is concatenated, and one that a plain norm alone reads."""

    def __init__(self, joins: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 12, 3, padding=1)
        self.norm = nn.InstanceNorm2d(12)
        self.last = nn.Conv2d(15 if joins else 12, 3, 1)
        self.joins = joins

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.first(x)))
        return self.last(torch.cat([y, x], 1) if self.joins else y + y)


def test_only_closed_spaces_are_widened() -> None:
    closed = widened(trace(quantized(Branches(False)), CONTRACT, 16, quantized=True))
    joined = widened(trace(quantized(Branches(True)), CONTRACT, 16, quantized=True))
    assert closed == {"first": 16}
    assert joined == {}


def test_an_axis_is_padded_behind() -> None:
    padded = pad_axis(np.ones((2, 3)), 1, 5, 7.0)
    assert padded.tolist() == [[1, 1, 1, 7, 7]] * 2
    assert pad_axis(padded, 0, None) is padded


def test_running_statistics_of_instance_norms_are_widened_with_their_channels() -> None:
    """StarGAN's norm, which in evaluation mode is a batch norm."""
    pytest.importorskip("onnxruntime", reason="pip install '.[export]'")
    from gan_slimming.export.onnx import onnx_model
    from gan_slimming.runtime.sessions import start_onnxruntime

    torch.manual_seed(2)
    net = nn.Sequential(
        *(
            nn.Conv2d(3, 12, 3, padding=1),
            nn.InstanceNorm2d(12, affine=True, track_running_stats=True),
        ),
        *(nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 3, 3, padding=1)),
    )
    net.train()(torch.rand(4, 3, 16, 16))
    small = quantized(net)
    traced = trace(small, CONTRACT, 32, quantized=True)
    model, _ = onnx_model(traced, "qdq", 17, {})
    image = torch.rand(1, 3, 24, 36) * 2 - 1
    made = start_onnxruntime(model.SerializeToString(), 1)[0](image.numpy())
    with torch.no_grad():
        expected = small(image).numpy()
    assert float(np.abs(made - expected).mean() / expected.std()) < 0.01
