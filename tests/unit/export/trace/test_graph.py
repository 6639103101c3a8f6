"""Tracing: what is kept, and what is refused by name."""

import copy

import pytest
import torch
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.export.trace.dequantized import without_quantizers
from gan_slimming.export.trace.graph import arguments_of, trace
from gan_slimming.export.trace.integers import is_quantized, quantized_layers
from gan_slimming.quantization.fake_quant import ActivationQuantizer

CONTRACT = InputContract(multiple_of=4)


def test_integers_are_the_students_own(student: nn.Module) -> None:
    traced = trace(student, CONTRACT, 32, quantized=True)
    assert set(traced.layers) == set(quantized_layers(student))
    for path, layer in quantized_layers(student).items():
        held = traced.layers[path]
        assert held.codes is not None
        assert held.scale is not None
        assert held.inputs is not None
        spread = held.scale.reshape([-1 if a == held.axis else 1 for a in range(4)])
        grid = layer.weight_quantizer(layer.weight).detach()
        assert torch.equal(torch.from_numpy(held.codes * spread), grid)
        assert (held.inputs.low, held.inputs.high) == layer.input_quantizer.codes
        assert held.inputs.scale == float(layer.input_quantizer.scale.detach())


def test_without_quantizers_weights_stay_on_their_grid(student: nn.Module) -> None:
    plain = without_quantizers(student)
    assert is_quantized(student)
    assert not is_quantized(plain)
    for path, layer in quantized_layers(student).items():
        grid = layer.weight_quantizer(layer.weight)
        assert torch.equal(plain.get_submodule(path).weight, grid)  # pyright: ignore


def test_a_bias_in_front_of_an_instance_norm_is_lost() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Conv2d(4, 3, 3), nn.ReLU())
    traced = trace(net.eval(), CONTRACT, 32, quantized=False)
    assert [arguments_of(n)["weight"].name for n in traced.redundant_biases] == ["p_0_weight"]
    for parameter in (p for p in net.parameters() if p.dim() == 1):
        nn.init.normal_(parameter)
    net.double()
    values = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    expected = net(values)
    nn.init.zeros_(net[0].bias)  # pyright: ignore
    torch.testing.assert_close(net(values), expected, rtol=0, atol=1e-12)


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x + 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (Two(), "1 input(s) and one output, got 1 and 2"),
        (nn.Linear(5, 5), "cannot be traced with an input of 1x3x32x32"),
    ],
)
def test_what_cannot_be_exported_is_refused(module: nn.Module, text: str) -> None:
    with pytest.raises(UserError) as caught:
        trace(module, CONTRACT, 32, quantized=False)
    assert text in str(caught.value)


def test_more_than_8_bits_and_gates_are_refused(tiny_cartoongan: nn.Module) -> None:
    example = (torch.zeros(1, 3, 32, 32),)
    prepared = gs.prepare(tiny_cartoongan, example)
    with pytest.raises(UserError, match="still has a gate; export what extract"):
        trace(prepared.module, CONTRACT, 32, quantized=True)
    wide = gs.extract(gs.prepare(tiny_cartoongan, example, bits=12))
    with pytest.raises(UserError, match="quantised to 12 bits; export takes up to 8"):
        trace(wide, CONTRACT, 32, quantized=True)


def test_a_float_copy_saturates_where_the_student_learnt_to(student: nn.Module) -> None:
    images = (torch.rand(1, 3, 32, 32) * 2 - 1,)
    narrow = copy.deepcopy(student)
    for module in narrow.modules():
        if isinstance(module, ActivationQuantizer):
            module.scale.data.mul_(0.3)
    with torch.no_grad():
        expected = narrow(*images)
        kept = without_quantizers(narrow)(*images)
        lost = without_quantizers(narrow, clips=False)(*images)
    assert (kept - expected).abs().mean() < 0.1 * (lost - expected).abs().mean()
