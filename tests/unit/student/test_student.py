"""The student's life: prepared, calibrated, gated, cut, extracted."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.models import CartoonGenerator
from gan_slimming.pruning.groups import ResidualBlock
from gan_slimming.student.layers import SlimConvolution
from gan_slimming.student.student import Student, calibrate, prepare
from gan_slimming.student.surgery import cut, extract, remove_empty_blocks, restore, set_gates

IMAGE = torch.rand(1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def teacher(lively_cartoongan: CartoonGenerator) -> CartoonGenerator:
    return lively_cartoongan


@pytest.fixture
def student(teacher: nn.Module) -> Student:
    return prepare(teacher, (IMAGE,), bits=None)


@pytest.fixture
def quantised(teacher: nn.Module) -> Student:
    student = prepare(teacher, (IMAGE,), bits=8)
    calibrate(student, [(IMAGE,)])
    return student


def zero(student: Student, group: str, channels: list[int] | slice = slice(None)) -> None:
    student.gate_of(group).data[channels] = 0


def branch_group(student: Student, block: int = 0) -> str:
    return student.graph.blocks[block].inner[0]


def output(module: nn.Module) -> Tensor:
    with torch.no_grad():
        return module(IMAGE)


def test_preparing_leaves_the_teacher_alone(teacher: nn.Module) -> None:
    before, kinds = deepcopy(teacher.state_dict()), [type(m) for m in teacher.modules()]
    student = prepare(teacher, (IMAGE,), bits=8)
    student.module.get_submodule("conv01_1").weight.data.zero_()  # pyright: ignore
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())
    assert [type(m) for m in teacher.modules()] == kinds


def test_every_parameter_and_every_gate_gets_a_gradient(quantised: Student) -> None:
    quantised.train()
    quantised(IMAGE).square().mean().backward()
    missing = [n for n, p in quantised.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    assert all(bool((g.grad != 0).any()) for g in quantised.gates)


def test_weights_ranges_and_gates_are_all_parameters_and_share_none(quantised: Student) -> None:
    parts = [*quantised.weights(), *quantised.ranges(), *quantised.gates]
    assert len({id(p) for p in parts}) == len(parts)
    assert {id(p) for p in parts} == {id(p) for p in quantised.parameters()}
    assert len(quantised.ranges()) == len(quantised.graph.quantized_layers) == 14


def test_calibration_quantises_nothing_and_ends(teacher: nn.Module) -> None:
    student = prepare(teacher, (IMAGE,), bits=2).train()
    modes = [module.training for module in student.modules()]
    seen: list[Tensor] = []
    hook = student.module.register_forward_hook(
        lambda _m, _i, out: seen.append(out)  # pyright: ignore
    )
    calibrate(student, [(IMAGE,)])
    hook.remove()
    assert torch.equal(seen[0], output(teacher))
    assert not torch.allclose(output(student), output(teacher))
    assert [module.training for module in student.modules()] == modes
    assert all(q.training for q in student.activation_quantizers())


def test_only_batch_norms_and_quantisers_train_as_the_teacher_has_the_rest_at_rest() -> None:
    class Own(nn.Module):
        """Noise and a second output in training mode, as some forwards have."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
            self.last = nn.Conv2d(4, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.first(x))
            if self.training:
                x = x + torch.randn_like(x)
            return self.last(x)

    student = prepare(Own().double().eval(), (IMAGE,), bits=8).train()
    assert student.training
    assert student.module.get_submodule("norm").training
    assert all(q.training for q in student.activation_quantizers())
    assert not student.module.training
    assert torch.equal(student(IMAGE), student(IMAGE))
    assert not any(module.training for module in student.eval().modules())


def test_calibration_moves_no_running_statistics() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)).double()
    student = prepare(net, (IMAGE,)).train()
    before = student.module.get_buffer("1.running_mean").clone()
    calibrate(student, [(IMAGE,)])
    assert torch.equal(student.module.get_buffer("1.running_mean"), before)


def test_signs_follow_the_tensors(quantised: Student) -> None:
    def signed(path: str) -> bool:
        layer = quantised.module.get_submodule(path)
        assert isinstance(layer, SlimConvolution)
        assert layer.input_quantizer is not None
        return layer.input_quantizer.signed

    assert signed("blocks.1.branch.conv_1")  # the residual stream
    assert not signed("blocks.1.branch.conv_2")  # behind a ReLU


def test_what_convolutions_give_is_rounded_where_it_does_not_show(teacher: nn.Module) -> None:
    student = prepare(teacher, (IMAGE,), quantize_outputs=True)
    layers = student.module.named_modules()
    rounded = [name for name, layer in layers if getattr(layer, "output_quantizer", None)]
    assert rounded == student.graph.quantized_layers[:-1]
    calibrate(student, [(IMAGE,)])
    seen: list[Tensor] = []
    layer = student.module.get_submodule(rounded[0])
    layer.register_forward_hook(lambda _m, _i, out: seen.append(out))  # pyright: ignore
    output(student)
    assert isinstance(layer, SlimConvolution)
    assert layer.output_quantizer is not None
    bias = torch.zeros(()) if layer.bias is None else layer.bias.detach().view(-1, 1, 1)
    codes = (seen[0] - bias) / layer.output_quantizer.scale.view(-1, 1, 1)
    assert float((codes - codes.round()).abs().max()) < 1e-6
    assert 120 < float(codes.abs().amax((0, 2, 3)).min()) <= float(codes.abs().max()) < 128.1


class TwoEnds(nn.Module):
    """Its image is the sum of what two layers give; a linear one makes the style."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.skip = (
            nn.Conv2d(3, 4, 1),
            nn.Conv2d(4, 3, 1),
            nn.Conv2d(3, 3, 1),
        )
        self.style, self.scale = nn.Parameter(torch.rand(1, 5)), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(x) * self.scale(self.style)[..., None, None]
        return torch.tanh(self.last(inner) + self.skip(x))


def test_layers_that_make_the_image_and_linear_ones_give_floats() -> None:
    student = prepare(TwoEnds().double(), (IMAGE,), quantize_outputs=True)
    assert student.graph.last_layers == {"last", "skip"}
    layers = student.module.named_modules()
    assert [n for n, layer in layers if getattr(layer, "output_quantizer", None)] == ["first"]


def test_eight_bits_stay_near_the_teacher(quantised: Student, teacher: nn.Module) -> None:
    difference = (output(quantised) - output(teacher)).abs().mean()
    assert 0 < float(difference) < 0.1


@pytest.mark.parametrize("bits", [None, 8])
def test_moving_gates_leaves_the_function(teacher: nn.Module, bits: int | None) -> None:
    student = prepare(teacher, (IMAGE,), bits=bits)
    calibrate(student, [(IMAGE,)])
    before = output(student)
    values = {g.name: torch.rand(g.channels).double() + 0.1 for g in student.graph.prunable}
    set_gates(student, values)
    torch.testing.assert_close(output(student), before, rtol=0, atol=1e-10)
    name = student.graph.prunable[0].name
    assert torch.equal(student.gate_of(name), values[name])


def test_moving_a_dead_gate_gives_no_nan(quantised: Student) -> None:
    name = branch_group(quantised)
    zero(quantised, name, [0])
    before = output(quantised)
    set_gates(quantised, {name: torch.ones(16, dtype=torch.float64)})
    torch.testing.assert_close(output(quantised), before, rtol=0, atol=1e-10)


ADAM: Callable[..., torch.optim.Optimizer] = torch.optim.Adam


def test_a_cut_slices_moments_with_their_channels(quantised: Student) -> None:
    optimizer = ADAM([*quantised.weights(), *quantised.gates], 1e-3)
    quantised.train()
    quantised(IMAGE).square().mean().backward()
    optimizer.step()
    quantised.eval()
    name = branch_group(quantised)
    zero(quantised, name, [0, 3])
    weight = quantised.module.get_parameter("blocks.0.branch.conv_1.weight")
    gate, kept = quantised.gate_of(name), quantised.alive()[name]
    moments = optimizer.state[weight]["exp_avg"].clone()
    gate_moments = optimizer.state[gate]["exp_avg"].clone()
    before = output(quantised)
    cut(quantised, quantised.alive(), [optimizer])
    torch.testing.assert_close(output(quantised), before, rtol=0, atol=1e-10)
    assert quantised.module.get_parameter("blocks.0.branch.conv_1.weight") is weight
    assert torch.equal(optimizer.state[weight]["exp_avg"], moments[kept])
    assert torch.equal(optimizer.state[gate]["exp_avg"], gate_moments[kept])
    quantised.train()(IMAGE).square().mean().backward()
    optimizer.step()
    assert weight.shape == (14, 16, 3, 3)


def test_the_channel_map_names_the_teachers_channels(student: Student) -> None:
    name = branch_group(student)
    zero(student, name, [0, 1])
    cut(student, student.alive())
    zero(student, name, [0])
    cut(student, student.alive())
    assert student.kept[name].tolist() == list(range(3, 16))
    assert student.graph.shapes["blocks.0.branch.conv_1.weight"] == (13, 16, 3, 3)


def test_a_student_is_restored_by_its_channel_map(student: Student, teacher: nn.Module) -> None:
    zero(student, branch_group(student, 0))
    zero(student, branch_group(student, 1), [2, 5])
    remove_empty_blocks(student)
    cut(student, student.alive())
    fresh = prepare(teacher, (IMAGE,), bits=None)
    restore(fresh, student.kept, student.identities)
    fresh.load_state_dict(student.state_dict())
    assert torch.equal(output(fresh), output(student))


def test_an_emptied_group_keeps_one_channel_that_carries_nothing(student: Student) -> None:
    name = branch_group(student)
    zero(student, name)
    before = output(student)
    cut(student, student.alive())
    assert student.gate_of(name).tolist() == [0.0]
    torch.testing.assert_close(output(student), before, rtol=0, atol=1e-10)


def test_an_empty_block_becomes_the_identity(student: Student) -> None:
    block: ResidualBlock = student.graph.blocks[0]
    groups = len(student.graph.prunable)
    zero(student, block.inner[0])
    assert remove_empty_blocks(student) == ["blocks.0"]
    values = torch.randn(1, 16, 4, 4, dtype=torch.float64)
    assert torch.equal(student.module.get_submodule("blocks.0")(values), values)
    assert remove_empty_blocks(student) == []
    assert student.identities == ["blocks.0"]
    assert len(student.gates) == len(student.graph.prunable) == groups - 1
    torch.testing.assert_close(output(extract(student)), output(student), rtol=0, atol=1e-10)


def test_an_extracted_net_has_no_gates_and_standard_layers(student: Student) -> None:
    zero(student, branch_group(student), [1])
    small = extract(student)
    assert {type(m).__module__.split(".")[0] for m in small.modules()} == {"torch", "gan_slimming"}
    assert not any(type(m).__name__.startswith("Slim") for m in small.modules())
    assert set(small.state_dict()) == set(CartoonGenerator(4, 2).state_dict())


def test_extraction_leaves_the_student_alone(quantised: Student) -> None:
    before = deepcopy(quantised.state_dict())
    extract(quantised)
    assert all(
        torch.equal(v, before[k])
        for k, v in quantised.state_dict().items()
        if isinstance(v, Tensor)
    )


def test_a_student_drops_nothing_out_while_it_trains() -> None:
    dropped = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.Dropout2d(0.5), nn.Conv2d(4, 3, 3)
    )
    student = prepare(dropped, (torch.zeros(1, 3, 8, 8),), bits=None).train()
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(student(x), student(x))
    assert dropped[1].p == 0.5
