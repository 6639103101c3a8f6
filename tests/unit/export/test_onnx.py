"""ONNX models compute what torch computes, in every form, at sizes that were not traced."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gan_slimming as gs
from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.errors import UserError
from gan_slimming.export.content import metadata_of
from gan_slimming.export.trace.dequantized import without_quantizers
from gan_slimming.export.trace.graph import trace
from gan_slimming.models.registry import spec_of

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install '.[export]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install '.[export]'")

from gan_slimming.export import parity  # noqa: E402
from gan_slimming.export.emitter import Emitter  # noqa: E402
from gan_slimming.export.onnx import onnx_model  # noqa: E402
from gan_slimming.runtime.sessions import start_onnxruntime  # noqa: E402

CONTRACT = InputContract(multiple_of=4)


class Everything(nn.Module):
    """Most of the table in one network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding="same", dilation=2)
        self.batch = nn.BatchNorm2d(8)
        self.tracked = nn.InstanceNorm2d(8, track_running_stats=True, affine=True)
        self.prelu = nn.PReLU(8)
        self.grouped = nn.Conv2d(8, 8, 3, groups=4, padding=1)
        self.narrow = nn.Conv2d(16, 8, 1, padding="valid", bias=False)
        self.up = nn.ConvTranspose2d(8, 4, 3, 2, 1)
        self.last = nn.Conv2d(12, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.batch(self.first(x)), 0.3)
        x = self.prelu(self.tracked(F.pad(x, (1, 2, 3, 1), mode="replicate")))
        x = F.pad(F.silu(self.grouped(x)), (1, 1, 1, 1), value=0.5)
        x = torch.cat([F.interpolate(x, scale_factor=2), self.smooth(x)], 1)
        x = F.avg_pool2d(x, 2, padding=1) + F.max_pool2d(x, 2, padding=1)
        x = self.up(F.elu(self.narrow(x.clamp(-2, 3))))
        x = torch.cat([x, F.hardtanh(x) - 2 * torch.sigmoid(x), F.relu6(x) / 3], 1)
        return torch.tanh(F.pixel_shuffle(self.last(x), 2)) * 0.5 + 1

    def smooth(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear")


def runs(module: nn.Module, form: Any, *shapes: tuple[int, ...], opset: int = 17) -> float:
    """Greatest difference between ONNX Runtime and torch over inputs of these shapes."""
    quantized = form != "none"
    traced = trace(module, CONTRACT, 32, quantized=quantized)
    model, _ = onnx_model(traced, form, opset, {})
    reference = module if quantized else without_quantizers(module)
    inputs = [(torch.rand(shape) * 2 - 1,) for shape in shapes]
    return parity.differences(reference, model.SerializeToString(), inputs, ["onnxruntime"])[
        "onnxruntime"
    ]


def test_every_operator_computes_what_torch_computes() -> None:
    net = Everything().eval()
    for buffer in (net.batch.running_mean, net.tracked.running_mean, net.prelu.weight.data):
        assert buffer is not None
        nn.init.normal_(buffer)
    assert runs(net, "none", (1, 3, 32, 32), (2, 3, 20, 28), (1, 3, 37, 24)) < 1e-5


@pytest.mark.parametrize("opset", [17, 19, 21])
def test_the_float_form_takes_any_batch_and_size(student: nn.Module, opset: int) -> None:
    assert runs(student, "none", (1, 3, 32, 32), (3, 3, 20, 44), opset=opset) < 1e-4


@pytest.mark.parametrize("form", ["qdq", "integer"])
def test_every_quantized_layer_computes_what_was_trained(student: nn.Module, form: Any) -> None:
    traced = trace(student, CONTRACT, 32, quantized=True)
    given = dummy_inputs(CONTRACT, (36, 28))
    rows = parity.check_layers(student, traced, form, 17, given, ["onnxruntime"])
    assert {row.layer for row in rows} == set(traced.layers)
    assert max(row.error for row in rows) < 2e-6
    assert max(row.ties for row in rows) < 0.01


def rounding_student(bits: int = 8, weight_bits: int | None = None) -> nn.Module:
    """Convolutions with and without a norm behind, their outputs rounded; all but the last."""
    torch.manual_seed(0)
    teacher = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.InstanceNorm2d(8, affine=True),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(8, 6, 4, 2, 1),
        nn.Tanh(),
        nn.Conv2d(6, 3, 3, padding=1),
    ).eval()
    how = {"bits": bits, "weight_bits": weight_bits}
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 32, 32),), **how, quantize_outputs=True)
    gs.calibrate(prepared, [(torch.rand(2, 3, 32, 32) * 2 - 1,)])
    for gate in prepared.gates:
        gate.data[1] = 0.0
    return gs.extract(prepared)


@pytest.mark.parametrize(("bits", "weight_bits", "kernels"), [(8, 7, 4), (8, 8, 4), (5, 5, 0)])
def test_layers_that_round_their_output_go_from_bytes_to_bytes(
    bits: int, weight_bits: int, kernels: int
) -> None:
    small = rounding_student(bits, weight_bits)
    traced = trace(small, CONTRACT, 32, quantized=True)
    model, in_float = onnx_model(traced, "integer", 17, {})
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QLinearConv") == kernels  # two for the transposed convolution
    assert kinds.count("ConvInteger") == (1 if kernels else 4)
    assert in_float == []
    given = dummy_inputs(CONTRACT, (36, 28))
    rows = parity.check_layers(small, traced, "integer", 17, given, ["onnxruntime"])
    assert [row.layer for row in rows] == ["0", "3", "5", "7"]
    assert 0 < max(row.left_out for row in rows) < 0.02
    assert rows[-1].left_out == 0
    assert runs(small, "integer", (1, 3, 32, 32), (2, 3, 20, 28)) < 0.05  # a code here and there
    assert runs(small, "qdq", (1, 3, 32, 32), (2, 3, 20, 28)) < 0.05


@pytest.mark.parametrize(("channels", "kernel"), [(3, 7), (1, 3), (2, 5)])
def test_rows_of_a_thin_image_are_stacked(channels: int, kernel: int) -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(
        nn.Conv2d(channels, 8, kernel, padding=kernel // 2), nn.ReLU(),
        nn.Conv2d(8, channels, 3, padding=1),
    ).eval()  # fmt: skip
    images = torch.rand(2, channels, 24, 24) * 2 - 1
    prepared = gs.prepare(teacher, (images,), weight_bits=7, quantize_outputs=True)
    gs.calibrate(prepared, [(images,)])
    small = gs.extract(prepared)
    contract = gs.InputContract(channels=channels)
    traced = trace(small, contract, 24, quantized=True)
    model, _ = onnx_model(traced, "integer", 17, {})
    window = next(node for node in model.graph.node if node.op_type == "QLinearConv")
    assert onnx.helper.get_node_attr_value(window, "kernel_shape") == [1, kernel]
    given = dummy_inputs(contract, (28, 20))
    rows = parity.check_layers(small, traced, "integer", 17, given, ["onnxruntime"])
    assert max(row.error for row in rows) < 2e-6


def test_a_layer_that_rounds_elsewhere_is_refused() -> None:
    small = rounding_student()
    traced = trace(small, CONTRACT, 32, quantized=True)
    small.get_buffer("3.output_quantizer.scale").mul_(1.001)
    given = dummy_inputs(CONTRACT, (36, 28))
    with pytest.raises(UserError, match=r"1 of 4 int8 layers differ .* 3 in onnxruntime"):
        parity.check_layers(small, traced, "integer", 17, given, ["onnxruntime"])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("form", ["qdq", "integer"])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_layers_that_pad_by_themselves(mode: Any, form: Any) -> None:
    teacher = nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=2, padding=(2, 1), padding_mode=mode),
        nn.ReLU(),
        nn.Conv2d(6, 3, 4, padding="same", padding_mode=mode),
    ).eval()
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 32, 32),))
    gs.calibrate(prepared, [(torch.rand(2, 3, 32, 32) * 2 - 1,)])
    small = gs.extract(prepared)
    traced = trace(small, CONTRACT, 32, quantized=True)
    given = dummy_inputs(CONTRACT, (36, 28))
    rows = parity.check_layers(small, traced, form, 17, given, ["onnxruntime"])
    assert [row.layer for row in rows] == ["0", "2"]
    assert runs(small, form, (1, 3, 32, 32), (2, 3, 20, 28)) < 1e-5


class Styled(nn.Module):
    """A layer that reads a parameter, as where a net has one learnt style."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
        self.style, self.scale = nn.Parameter(torch.rand(1, 5)), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x) * self.scale(self.style)[..., None, None])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_layer_that_reads_a_constant_is_checked_as_well(runtime: str) -> None:
    pytest.importorskip(runtime)
    prepared = gs.prepare(Styled().eval(), (torch.zeros(1, 3, 32, 32),))
    gs.calibrate(prepared, [(torch.rand(2, 3, 32, 32) * 2 - 1,)])
    small = gs.extract(prepared)
    traced = trace(small, CONTRACT, 32, quantized=True)
    given = dummy_inputs(CONTRACT, (36, 28))
    rows = parity.check_layers(small, traced, "qdq", 17, given, [runtime])
    assert {row.layer for row in rows} == {"first", "last", "scale"}


def test_a_layer_that_gives_one_number_is_held_to_what_float32_can_tell() -> None:
    teacher = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)).eval()
    nn.init.zeros_(teacher.get_parameter("1.weight"))
    nn.init.constant_(teacher.get_parameter("1.bias"), 0.3)
    prepared = gs.prepare(teacher, (torch.zeros(1, 3, 32, 32),))
    gs.calibrate(prepared, [(torch.rand(2, 3, 32, 32) * 2 - 1,)])
    small = gs.extract(prepared)
    traced = trace(small, CONTRACT, 32, quantized=True)
    given = dummy_inputs(CONTRACT, (36, 28))
    assert len(parity.check_layers(small, traced, "integer", 17, given, ["onnxruntime"])) == 2
    small.get_parameter("1.bias").data += 1e-5
    with pytest.raises(UserError, match="1 of 2 int8 layers differ"):
        parity.check_layers(small, traced, "integer", 17, given, ["onnxruntime"])


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("form", ["qdq", "integer"])
def test_fewer_bits_saturate_where_they_should(
    tiny_cyclegan: nn.Module, bits: int, form: Any
) -> None:
    example = (torch.zeros(1, 3, 32, 32),)
    prepared = gs.prepare(tiny_cyclegan, example, bits=bits, weight_bits=bits)
    gs.calibrate(prepared, [(torch.rand(1, 3, 32, 32) * 2 - 1,)])
    small = gs.extract(prepared)
    traced = trace(small, CONTRACT, 32, quantized=True)
    given = (2 * dummy_inputs(CONTRACT, 32)[0],)
    assert parity.check_layers(small, traced, form, 17, given, ["onnxruntime"])


@pytest.mark.parametrize("form", ["qdq", "integer"])
def test_weights_are_stored_in_one_byte_each(student: nn.Module, form: Any) -> None:
    traced = trace(student, CONTRACT, 32, quantized=True)
    model, float_layers = onnx_model(traced, form, 17, {})
    kinds = [node.op_type for node in model.graph.node]
    layers = len(traced.layers)
    if form == "integer":
        assert kinds.count("ConvInteger") == layers
        assert not {"Conv", "ConvTranspose"} & set(kinds)
        assert kinds.count("DequantizeLinear") == layers  # of the sums
    else:
        assert kinds.count("Conv") == layers
        assert kinds.count("DequantizeLinear") == 2 * layers
    assert kinds.count("QuantizeLinear") == layers
    assert float_layers == []
    large = [t for t in model.graph.initializer if np.prod(t.dims) > 100]
    assert {t.data_type for t in large} <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


def test_quantizers_stand_in_front_of_pads_and_shuffles(student: nn.Module) -> None:
    traced = trace(student, CONTRACT, 32, quantized=True)
    model, _ = onnx_model(traced, "integer", 17, {})
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            assert makers.get(node.input[0], "input") not in ("Pad", "DepthToSpace")


def test_the_file_says_how_to_feed_it(student: nn.Module) -> None:
    spec = spec_of(student)
    traced = trace(student, spec.contract, 32, quantized=True)
    metadata = metadata_of(spec.contract, "qdq", str(spec), {"seed": 3})
    model, _ = onnx_model(traced, "qdq", 17, metadata)
    text = start_onnxruntime(model.SerializeToString(), 1)[2]
    held = json.loads(text)
    assert InputContract(**held["contract"]) == spec.contract
    assert held["form"] == "qdq"
    assert held["provenance"] == {"seed": 3}


def test_bytes_are_shuffled_as_numbers_are() -> None:
    values = torch.randn(2, 12, 3, 5)
    cells = values.unflatten(1, (4, 3)).transpose(1, 2).flatten(1, 2)
    traced = trace(nn.Identity(), CONTRACT, 4, quantized=False)
    emitter = Emitter(traced, "none")
    made = emitter.shuffle_bytes("input", blocksize=2, mode="DCR", channels=12)
    nodes, constants = emitter.needed(made)
    side = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "shuffle", [side("input", 1, ["n", 12, "h", "w"])], [side(made, 1, None)], constants
    )
    model = onnx.helper.make_model(
        graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    run = start_onnxruntime(model.SerializeToString(), 1)[0]
    assert np.array_equal(run(values.numpy()), F.pixel_shuffle(cells, 2).numpy())


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x, 1)


def test_unknown_operators_and_opsets_are_refused_by_name() -> None:
    traced = trace(nn.Sequential(Sorted()), CONTRACT, 32, quantized=False)
    with pytest.raises(UserError, match="operator 'cumsum' in module '0' cannot be exported"):
        onnx_model(traced, "none", 17, {})
    traced = trace(nn.Conv2d(3, 3, 1), CONTRACT, 32, quantized=False)
    with pytest.raises(UserError, match="opset must be 17 to 21, got 99"):
        onnx_model(traced, "none", 99, {})


def test_a_wrong_scale_is_found_and_named(student: nn.Module) -> None:
    traced = trace(student, CONTRACT, 32, quantized=True)
    path = list(traced.layers)[2]
    scale = traced.layers[path].scale
    assert scale is not None
    scale *= 1.01
    given = dummy_inputs(CONTRACT, (32, 32))
    with pytest.raises(UserError, match=f"1 of {len(traced.layers)} int8 layers.*{path} in onnx"):
        parity.check_layers(student, traced, "qdq", 17, given, ["onnxruntime"])


def test_a_float_export_that_differs_is_refused(student: nn.Module) -> None:
    traced = trace(student, CONTRACT, 32, quantized=False)
    content = onnx_model(traced, "none", 17, {})[0].SerializeToString()
    images = [dummy_inputs(CONTRACT, (32, 32))]
    assert parity.check_float(student, content, images, ["onnxruntime"])["onnxruntime"] < 1e-4
    first = next(p for p in student.parameters() if p.dim() == 4)
    with torch.no_grad():
        first.mul_(-1)
    with pytest.raises(UserError, match="float export differs from torch by"):
        parity.check_float(student, content, images, ["onnxruntime"])


def test_inputs_on_a_border_are_moved_and_counted() -> None:
    from gan_slimming.export.trace.integers import Codes

    values = torch.tensor([0.05, 0.1, 0.149999, 0.12, 99.95])
    moved, share = parity.off_the_borders(values, Codes(0.1, 0, 255))
    assert share == pytest.approx(2 / 5)
    assert torch.allclose(moved, torch.tensor([0.0, 0.1, 0.1, 0.12, 99.95]))
