"""Slim layers: the function of the layer that they stand for, with and without gates."""

import copy

import pytest
import torch
from torch import nn

from gan_slimming.pruning.slicing import slice_tensors
from gan_slimming.student.gates import LayerGate, gate_parameter
from gan_slimming.student.layers import (
    SLIM,
    SlimConvolution,
    SlimInstanceNorm2d,
    fold_gate,
    keep_channels_last,
    output_axis,
    to_plain,
    to_slim,
)


def thinned(norm: nn.Module) -> nn.Module:
    slice_tensors(norm, {(name, 0): torch.arange(4) for name in ("weight", "bias")})
    return norm


LAYERS = [
    (nn.Conv1d(3, 4, 3, padding=1, padding_mode="reflect"), (2, 3, 9)),
    (nn.Conv2d(3, 4, 3, stride=2, dilation=2), (2, 3, 9, 9)),
    (nn.Conv3d(3, 4, 2, bias=False), (2, 3, 5, 5, 5)),
    (nn.ConvTranspose1d(3, 4, 3, 2), (2, 3, 9)),
    (nn.ConvTranspose2d(3, 4, 3, 2, padding=1, output_padding=1), (2, 3, 9, 9)),
    (nn.ConvTranspose3d(3, 4, 2), (2, 3, 5, 5, 5)),
    (nn.Linear(3, 4), (2, 3)),
    (nn.InstanceNorm1d(4, affine=True), (2, 4, 9)),
    (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), (2, 4, 5, 5)),
    (nn.InstanceNorm3d(4, affine=True), (2, 4, 3, 3, 3)),
    (nn.GroupNorm(2, 4), (2, 4, 5, 5)),
    (thinned(nn.GroupNorm(1, 6)), (2, 4, 5, 5)),
    (nn.LayerNorm(4), (2, 4)),
    (thinned(nn.LayerNorm(6)), (2, 4)),
    (nn.BatchNorm1d(4), (2, 4)),
    (nn.BatchNorm2d(4, momentum=None), (2, 4, 5, 5)),
    (nn.BatchNorm3d(4, track_running_stats=False), (2, 4, 3, 3, 3)),
]
each = pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: type(v).__name__)


def test_every_slim_type_is_tried() -> None:
    assert {type(layer) for layer, _ in LAYERS} | {nn.ReflectionPad2d} == set(SLIM)


def test_reflection_keeps_its_type_under_autocast() -> None:
    slim, values = to_slim(nn.ReflectionPad2d(1)), torch.randn(1, 2, 5, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        padded = slim(values)
    assert padded.dtype == torch.bfloat16
    assert torch.equal(padded, nn.ReflectionPad2d(1)(values))
    assert type(to_plain(slim)) is nn.ReflectionPad2d


@each
@pytest.mark.parametrize("training", [True, False])
def test_a_slim_layer_computes_what_the_layer_does(
    layer: nn.Module, shape: tuple[int, ...], training: bool
) -> None:
    layer = copy.deepcopy(layer).double().train(training)
    slim, values = to_slim(copy.deepcopy(layer)), torch.randn(shape, dtype=torch.float64)
    for _ in range(2):
        assert torch.equal(slim(values), layer(values))
    assert all(torch.equal(v, slim.state_dict()[k]) for k, v in layer.state_dict().items())


@each
def test_there_and_back_again(layer: nn.Module, shape: tuple[int, ...]) -> None:
    plain = to_plain(to_slim(layer))
    assert type(plain) is type(layer)
    assert plain.extra_repr() == layer.extra_repr()
    assert all(a is b for a, b in zip(plain.parameters(), layer.parameters(), strict=True))
    assert torch.equal(plain.eval()(torch.ones(shape)), layer.eval()(torch.ones(shape)))


@each
def test_a_gate_multiplies_the_output_and_folds_away(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    layer = copy.deepcopy(layer).double().eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    gate = nn.Parameter(torch.tensor([0.5, 0.0, -2.0, 1.0], dtype=torch.float64))
    places = torch.arange(4)
    slim = to_slim(copy.deepcopy(layer))
    slim.__dict__["gate"] = LayerGate(4, [(gate, places, places)])
    values = torch.randn(shape, dtype=torch.float64)
    gated = slim(values)
    expected = layer(values) * gate.detach().view(1, -1, *[1] * (len(shape) - 2))
    torch.testing.assert_close(gated, expected, rtol=1e-12, atol=1e-12)
    assert bool((gated[:, 1] == 0).all())
    fold_gate(slim)
    torch.testing.assert_close(to_plain(slim)(values), gated, rtol=1e-12, atol=1e-12)


def test_a_gate_is_put_together_from_the_groups_that_the_layer_writes() -> None:
    first, second = nn.Parameter(torch.tensor([2.0, 3.0])), nn.Parameter(torch.tensor([5.0]))
    parts = [
        (first, torch.tensor([0, 3]), torch.tensor([1, 0])),
        (second, torch.tensor([1]), torch.tensor([0])),
    ]
    vector = LayerGate(4, parts)()
    assert vector.tolist() == [3.0, 5.0, 1.0, 2.0]
    vector.sum().backward()
    assert first.grad is not None
    assert first.grad.tolist() == [1.0, 1.0]


def test_a_permuted_gate_of_one_group_is_read_in_the_layers_order() -> None:
    gate = nn.Parameter(torch.tensor([2.0, 3.0, 4.0]))
    vector = LayerGate(3, [(gate, torch.arange(3), torch.tensor([2, 0, 1]))])()
    assert vector.tolist() == [4.0, 2.0, 3.0]


def test_only_a_transposed_convolution_has_its_outputs_on_axis_one() -> None:
    axes = {
        type(layer).__name__: output_axis(layer) for layer, _ in LAYERS if hasattr(layer, "weight")
    }
    assert {name for name, axis in axes.items() if axis == 1} == {
        "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"
    }  # fmt: skip


def test_only_exact_types_have_a_slim_version() -> None:
    class Mine(nn.Conv2d): ...

    assert Mine not in SLIM
    assert isinstance(to_slim(nn.Conv2d(1, 1, 1)), SlimConvolution)


class Scaled(nn.Module):
    """A module with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * self.scale


def test_a_gate_on_a_parameter_multiplies_what_is_read_and_folds_away() -> None:
    layer, gate = Scaled(), nn.Parameter(torch.tensor([2.0, 0.0, -1.0]))
    places = torch.arange(3)
    gate_parameter(layer, "scale", 0, LayerGate(3, [(gate, places, places)]))
    assert layer(torch.ones(3)).tolist() == [2.0, 0.0, -3.0]
    assert dict(layer.named_parameters())["scale"].tolist() == [1.0, 2.0, 3.0]
    twin = copy.deepcopy(layer)
    assert isinstance(twin, Scaled)
    fold_gate(layer)
    assert type(layer) is Scaled
    assert layer(torch.ones(3)).tolist() == twin(torch.ones(3)).tolist() == [2.0, 0.0, -3.0]
    twin(torch.ones(3)).sum().backward()
    assert dict(twin.named_parameters())["scale"].grad is not None


def test_a_tensor_that_layers_share_is_folded_once() -> None:
    one, two = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    two.weight = one.weight
    gate, places = nn.Parameter(torch.tensor([2.0, 3.0])), torch.arange(2)
    before, seen = one.weight.detach().clone(), set()
    for layer in (to_slim(one), to_slim(two)):
        layer.__dict__["gate"] = LayerGate(2, [(gate, places, places)])
        fold_gate(layer, seen)
    torch.testing.assert_close(one.weight.detach(), before * torch.tensor([[2.0], [3.0]]))


def test_a_generator_that_keeps_channels_last_computes_the_same() -> None:
    """Only plain instance norms are exchanged, and the output's memory format is the input's."""
    layers = (nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), nn.Conv2d(4, 3, 3))
    net = nn.Sequential(*layers).double().eval()
    values = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    expected = net(values)
    keep_channels_last(net)
    made = net(values.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(made, expected, atol=1e-10, rtol=1e-8)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert isinstance(net[1], SlimInstanceNorm2d)
