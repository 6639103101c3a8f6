"""The mistakes of earlier implementations: each is absent, and each test is shown to bite.

Every test holds the right way to its property and then commits the mistake, to see it caught.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import Budget
from gan_slimming.data.folder import open_folder
from gan_slimming.data.image_files import write_image
from gan_slimming.errors import UserError
from gan_slimming.metrics.complexity import count
from gan_slimming.metrics.tracker import Tracker
from gan_slimming.models import CartoonGenerator, build_generator, spec_of
from gan_slimming.pruning.groups import GroupGraph
from gan_slimming.pruning.proximal import cost_of_widths, shrink_gates, soft_threshold
from gan_slimming.quantization.affine import along, code_range, quantize
from gan_slimming.quantization.fake_quant import ActivationQuantizer
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.student.layers import SlimConvolution
from gan_slimming.student.student import Student, calibrate, prepare
from gan_slimming.student.surgery import cut, extract, remove_empty_blocks, set_gates
from gan_slimming.training.budget import BudgetController, measure_of, parameters_left

IMAGE = torch.rand(1, 3, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def teacher(tiny_cartoongan: CartoonGenerator) -> nn.Module:
    """Random weights, scales and shifts, so that nothing is zero by chance."""
    for name, parameter in tiny_cartoongan.double().named_parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 4
        nn.init.normal_(parameter, 0.1 if "in" in name else 0.0, fan**-0.5)
    return tiny_cartoongan


def student_of(teacher: nn.Module, bits: int | None) -> Student:
    student = prepare(teacher, (IMAGE,), bits=bits)
    calibrate(student, [(IMAGE,)])
    return student


def zero(student: Student, group: str, channels: slice) -> None:
    student.gate_of(group).data[channels] = 0


def output(module: nn.Module) -> Tensor:
    with torch.no_grad():
        return module(IMAGE)


def distance(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max())


def quantised_convolutions(module: nn.Module) -> list[SlimConvolution]:
    return [m for m in module.modules() if isinstance(m, SlimConvolution)]


# 1
def test_an_emptied_residual_block_computes_x_and_not_two_x(teacher: nn.Module) -> None:
    student = student_of(teacher, None)
    block = student.graph.blocks[0]
    zero(student, block.inner[0], slice(None))
    remove_empty_blocks(student)
    values = torch.randn(1, 16, 6, 6, dtype=torch.float64)
    ours = extract(student).get_submodule(block.module)(values)
    assert torch.equal(ours, values)
    emptied = teacher.get_submodule(block.module)
    assert isinstance(emptied, nn.Module)
    emptied.branch = nn.Identity()  # the mistake: the branch is gone, the sum is not
    assert torch.equal(emptied(values), 2 * values)
    assert distance(emptied(values), values) > 1


# 2
def test_a_pruned_channels_shift_is_not_dropped_at_extraction(teacher: nn.Module) -> None:
    student = student_of(teacher, None)
    for group in student.graph.prunable:
        zero(student, group.name, slice(0, group.channels // 2))
    small = extract(student)
    assert distance(output(small), output(student)) < 1e-10
    wrong = gates_on_gamma_alone(teacher, student)
    assert distance(output(small), output(wrong)) > 1e-3


def gates_on_gamma_alone(teacher: nn.Module, student: Student) -> nn.Module:
    """The mistake: training saw gamma = 0 with the shift alive; extraction lost the shift."""
    trained = deepcopy(teacher)
    for name, alive in student.alive().items():
        group = next(g for g in student.graph.prunable if g.name == name)
        for place in group.gated:
            layer = trained.get_submodule(place.tensor.removesuffix(".gate"))
            weight = layer.weight
            assert isinstance(weight, Tensor)
            if weight.dim() == 1:
                weight.data[place.positions[~alive[place.channels]]] = 0
    return trained


# 3
def test_weight_scales_do_not_change_when_channels_are_sliced_away(teacher: nn.Module) -> None:
    student = student_of(teacher, 8)
    before = student.module.get_buffer("blocks.1.branch.conv_2.weight_quantizer.scale").clone()
    name = next(b.inner[0] for b in student.graph.blocks if b.module == "blocks.1")
    weight = student.module.get_parameter("blocks.1.branch.conv_2.weight")
    largest = int(weight.detach().abs().amax(dim=(0, 2, 3)).argmax())
    zero(student, name, slice(largest, largest + 1))
    uncut = output(student)
    cut(student, student.alive())
    after = student.module.get_buffer("blocks.1.branch.conv_2.weight_quantizer.scale")
    assert torch.equal(after, before)
    assert distance(output(student), uncut) < 1e-10
    assert distance(output(extract(student)), uncut) < 1e-10
    for layer in quantised_convolutions(student):  # the mistake: one scale, taken from what is left
        assert layer.weight_quantizer is not None
        layer.weight_quantizer.scale.fill_(float(layer.weight.detach().abs().max()) / 127)
    assert distance(output(student), uncut) > 1e-3


# 4
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_eight_bits_have_256_levels_and_not_257(bits: int) -> None:
    low, high = code_range(bits, signed=False)
    values = torch.linspace(-1, 5, 100_000)
    quantizer = ActivationQuantizer(bits, fixed_range=4.0)
    assert len(quantizer(values).unique()) == high - low + 1 == 2**bits
    mistaken = quantize(values, 4.0 / 2**bits, 0, 2**bits)
    assert len(mistaken.unique()) == 2**bits + 1


# 5
def test_the_residual_stream_is_not_clipped_at_zero(teacher: nn.Module) -> None:
    student = student_of(teacher, 8)
    layer = student.module.get_submodule("blocks.1.branch.conv_1")
    assert isinstance(layer, SlimConvolution)
    quantizer = layer.input_quantizer
    assert quantizer is not None
    assert quantizer.signed
    seen: list[Tensor] = []
    with torch.no_grad():
        hook = quantizer.register_forward_hook(lambda _m, args, _out: seen.append(args[0]))
        student(IMAGE)
        hook.remove()
        right = lost_to_zero(seen[0], quantizer)
        quantizer.signed = False  # the mistake
        wrong = lost_to_zero(seen[0], quantizer)
    assert right < 0.02
    assert wrong > 0.2


def lost_to_zero(values: Tensor, quantizer: ActivationQuantizer) -> float:
    """Share of values further than one step from zero that come out as zero."""
    far = values.abs() > quantizer.scale
    return float(((quantizer(values) == 0) & far).double().mean())


# 6
def test_activation_ranges_are_calibrated_layer_by_layer(teacher: nn.Module) -> None:
    student, fixed = student_of(teacher, 4), prepare(teacher, (IMAGE,), bits=4)
    scales = {float(q.scale.detach()) for q in student.activation_quantizers()}
    assert max(scales) > 2 * min(scales)
    for quantizer in fixed.activation_quantizers():  # the mistake: [0, 4] everywhere
        quantizer.signed = False
        quantizer.scale.data.fill_(4 / 15)
    truth = output(teacher)
    ours = (output(student) - truth).abs().mean()
    assert float((output(fixed) - truth).abs().mean()) > 1.2 * float(ours)


# 7
def test_the_file_of_an_int8_student_is_int8(tmp_path: Path) -> None:
    teacher = build_generator("cartoongan", width=16, blocks=2).eval()
    example = (IMAGE.float(),)
    sizes = {}
    for bits in (8, None):
        student = prepare(teacher, example, bits=bits)
        calibrate(student, [example])
        path = tmp_path / f"{bits}.safetensors"
        sizes[bits] = save_generator(extract(student), path, spec_of(teacher))
        estimate = measure_of("bytes", student.graph, bits)({})
        assert path.stat().st_size == sizes[bits] == pytest.approx(estimate, rel=0.03)
    parameters = sum(p.numel() for p in teacher.parameters())
    assert sizes[8] < 1.1 * parameters
    assert sizes[None] > 3.5 * sizes[8]  # the mistake: floats that lie on a grid, kept as floats


def test_every_weight_of_an_int8_student_is_a_code_times_its_scale(teacher: nn.Module) -> None:
    small = extract(student_of(teacher, 8))
    layers = quantised_convolutions(small)
    assert len(layers) == 14
    for layer in layers:
        quantizer = layer.weight_quantizer
        assert quantizer is not None
        scale = along(quantizer.scale, quantizer.axis, layer.weight.dim())
        used = quantizer(layer.weight)
        codes = (used / scale).round().to(torch.int8)
        assert torch.allclose(codes * scale, used, rtol=1e-12, atol=0)
        assert not torch.allclose(codes * scale, layer.weight, rtol=1e-6, atol=0)


# 8
def test_the_residual_stream_and_convolutions_without_norm_are_pruned(teacher: nn.Module) -> None:
    graph = student_of(teacher, None).graph
    prunable = {(m.tensor, m.axis) for g in graph.prunable for m in g.members}
    stream = {("blocks.0.branch.conv_2.weight", 0), ("blocks.1.branch.conv_1.weight", 1)}
    bare = {(f"{name}.weight", 0) for name in ("conv02_1", "conv03_1")}
    transposed = {(f"{name}.weight", 1) for name in ("deconv01_1", "deconv02_1")}
    assert stream | bare | transposed <= prunable
    mistaken = prepare(  # the mistake: only channels behind a norm of their own, and no stream
        teacher,
        (IMAGE,),
        bits=None,
        protect=["conv0[23]_1", "deconv0*_1", "blocks.*.branch.conv_2"],
    ).graph
    assert least_share(graph) < 0.15
    assert least_share(mistaken) > 0.4


def least_share(graph: GroupGraph) -> float:
    """MACs with one channel left in every group, of all."""
    measure = measure_of("macs", graph, None)
    return cost_of_widths(graph, measure, {g.name: 1 for g in graph.prunable}) / measure({})


# 9
def test_there_is_a_budget_and_no_layer_is_emptied_by_it(teacher: nn.Module) -> None:
    student = student_of(teacher, 8)
    # One group matters next to nothing by its gates: greed alone would empty it.
    victim = student.graph.prunable[2]
    tiny = {g.name: torch.full((g.channels,), 1.0).double() for g in student.graph.prunable}
    tiny[victim.name] *= 1e-3
    set_gates(student, tiny)
    controller = BudgetController(student, Budget(macs=0.3), 8, 1, floor=0.5)
    gates = [gate.detach().clone() for gate in student.gates]
    greedy = shrink_gates(gates, [0.01] * len(gates), [0] * len(gates))  # the mistake
    controller.threshold_step(student, 1)
    alive = student.alive()
    assert measure_of("macs", student.graph, 8)(alive) <= controller.budget
    assert all(int(mask.sum()) >= controller.floors[name] >= 1 for name, mask in alive.items())
    assert int((greedy[2] != 0).sum()) == 0
    with pytest.raises(UserError, match="cannot be met"):
        BudgetController(student, Budget(macs=1e-5), 8, 1, floor=0.5)


# 10
def test_the_prox_uses_the_learning_rate_of_its_step() -> None:
    rho, target = 0.3, torch.tensor([2.0, -1.0, 0.2], dtype=torch.float64)
    optimum = soft_threshold(target, rho)  # of |g - target|^2 / 2 + rho |g|, in closed form

    def fixed_point(eta: float, eta_of_the_prox: float) -> Tensor:
        gate = torch.ones(3, dtype=torch.float64)
        for _ in range(2000):
            gate = soft_threshold(gate - eta * (gate - target), rho * eta_of_the_prox)
        return gate

    for eta in (0.5, 0.1, 0.01):
        assert distance(fixed_point(eta, eta), optimum) < 1e-6
        assert distance(fixed_point(eta, 2 * eta), optimum) > 0.1  # the mistake


# 11
def test_extraction_does_not_depend_on_a_modules_index(teacher: nn.Module) -> None:
    shifted = nn.Sequential(nn.Identity(), nn.Dropout(0.1), teacher).double().eval()
    one, two = student_of(teacher, None), student_of(shifted, None)
    for student in (one, two):
        for group in student.graph.prunable:
            zero(student, group.name, slice(1, None, 2))
    small, other = extract(one), extract(two)
    assert distance(output(small), output(one)) < 1e-10
    assert distance(output(other), output(small)) < 1e-10
    ours = [p.shape for p in small.parameters()]
    assert [p.shape for p in other.parameters()] == ours
    widths = {  # the mistake: what is left of a layer is looked up by its place
        i: m.out_channels for i, m in enumerate(small.modules()) if isinstance(m, nn.Conv2d)
    }
    there = dict(enumerate(other.modules()))
    assert all(getattr(there[i + 3], "out_channels", 0) == width for i, width in widths.items())
    assert any(getattr(there[i], "out_channels", 0) != width for i, width in widths.items())


# 15
def test_transposed_convolutions_are_counted_as_computed_and_size_counts_everything() -> None:
    teacher = CartoonGenerator(width=8, blocks=2).eval()
    example = (torch.zeros(1, 3, 32, 32),)
    student = prepare(teacher, example, bits=None)
    for group in student.graph.prunable:
        zero(student, group.name, slice(0, 3))
    alive, truth = student.alive(), count(extract(student), example)
    macs = measure_of("macs", student.graph, None)(alive)
    assert macs == truth.macs
    assert truth.paper_convention_macs > 1.05 * macs  # the mistake: charged at output resolution
    small = extract(student)
    assert parameters_left(student.graph, alive) == sum(p.numel() for p in small.parameters())
    weights = sum(p.numel() for p in small.parameters() if p.dim() == 4)
    assert weights < truth.parameters  # the mistake: convolution weights alone
    by_hand = nn.ConvTranspose2d(4, 6, 3, 2, padding=1, output_padding=1)
    assert count(by_hand, (torch.zeros(1, 4, 5, 7),)).macs == 5 * 7 * 4 * 6 * 9


# 16
def test_figures_are_of_the_images_as_they_are_now(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for name in "abcd":
        write_image(tmp_path / f"{name}.png", torch.rand(3, 32, 32, generator=generator))
    files = sorted(tmp_path.iterdir())

    def figures() -> tuple[tuple[Path, ...], dict[str, float]]:
        _, held = open_folder(tmp_path, 32, holdout=1)
        tracker = Tracker(held, lambda x: x, torch.device("cpu"))
        return held.paths, tracker(lambda x: 0.5 * x)

    paths, before = figures()
    cache = {paths: before}  # the mistake: statistics are kept under the names of the images
    for file in files:
        write_image(file, 1 - torch.rand(3, 32, 32, generator=generator) / 4)
    same_paths, now = figures()
    assert same_paths == paths
    assert abs(now["l1"] - before["l1"]) > 0.1
    assert cache[same_paths] == before != now
    assert sorted(tmp_path.iterdir()) == files
