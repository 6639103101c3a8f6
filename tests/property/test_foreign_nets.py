"""Any generator: 46 foreign nets and random ones are slimmed exactly, or refused by name."""

from __future__ import annotations

import copy
import functools
import os
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.property.foreign_nets import NETS, inputs_of
from tests.property.random_nets import STYLE, RandomNet
from tests.property.test_extraction import EXACT, randomise
from torch import Tensor, nn

from gan_slimming.metrics.complexity import count
from gan_slimming.models.registry import GeneratorSpec
from gan_slimming.pruning.groups import GroupGraph, macs_left
from gan_slimming.pruning.verify_cut import NAMED
from gan_slimming.serialization.generator_file import load_generator_file, save_generator
from gan_slimming.student.student import Student, calibrate, prepare
from gan_slimming.student.surgery import cut, extract
from gan_slimming.training.budget import parameters_left

RANDOM_NETS = int(os.environ.get("GAN_SLIMMING_RANDOM_NETS", "6"))
"""How many are drawn; the same number draws the same ones."""
PRUNABLE: dict[str, dict[str, int]] = {
    "linear_to_image": {"norm": 6, "body": 5},
    "unflattened": {"0": 7, "3": 4},
    "named_view": {"body": 5},
    "named_split": {"body": 5},
    "squeeze_excite": {"norm": 8, "squeeze": 5},
    "conv_excite": {"first": 6, "down": 4},
    "adain": {"styles.0": 6, "styles.1": 5, "mapping.2": 8, "mapping.0": 7},
    "viewed_adain": {"first": 6},
    "conditional_batch_norm": {"scale.weight": 6, "body": 5},
    "one_embedding": {"norm": 6},
    "self_attention": {"first": 8, "query": 4, "value": 6},
    "tokens": {"first": 6, "up": 9, "q": 5, "v": 5},
    "fused_attention": {"first": 6, "v": 4},
    "multi_head": {"body": 5},
    "esrgan": {"0": 6, "4": 2, **{f"{b}.layers.{n}": 4 for b in (1, 2) for n in range(3)}},
    "norm_groups": {"1": 4, "4": 3, "6": 4, "10": 5},
    "anime_gan_v2": {
        "a.0.1": 3,
        "a.1.1": 6,
        "a.2.1": 6,
        "b.0.1": 12,
        "b.1.1": 12,
        "c.0.1": 12,
        "c.1.layers.0.1": 24,
        "c.1.layers.2": 24,
        **{f"c.{b}.layers.0.1": 48 for b in (2, 3, 4)},
        "c.5.1": 12,
        "d.0.1": 12,
        "d.1.1": 12,
        "e.0.1": 6,
        "e.1.1": 6,
        "e.2.1": 3,
    },
    "inverted": {"0.1": 6, "1.layers.0.1": 12},
    "conv_next": {"0": 6, "1.up": 12, "2.up": 12},
    "normalised": {"first": 6, "one": 5},
    "not_thinned": {},
    "pixel_norm": {"0": 5, "3": 6},
    "unit_length": {"first": 6},
    "spectral": {"1": 6, "3": 5, "5": 6, "7": 4},
    "parametrised": {"1": 5},
    "shared_twice": {"first": 5, "block.1": 4},
    "tied_weights": {"first": 5},
    "tied_transpose": {"first": 5, "norm": 6},
    "equalized": {"0.weight": 6, "3": 5},
    "style_gan": {"constant": 6, "mapping.0": 7, "mapping.2": 8, "one.weight": 6, "two.weight": 5},
    "blurred": {"first": 6, "second": 5},
    "per_channel_blur": {"first": 6},
    "shuffled": {"first": 4, "group": 2, "point": 4},
    "unshuffled": {"first": 4, "second": 2},
    "many_ends": {"left": 5, "right": 4, "join": 6},
    "constants": {"first": 5, "second": 6},
    "plus": {"second.weight": 5, "third.weight": 4, "third": 5},
    "gated": {"first": 4, "second": 5, "left": 5},
    "subclasses": {"3.weight": 5},
    "unet_skip": {"down": 4, "norm": 6, "middle": 4},
    "encoder": {"down.1": 4, "code": 7, "back": 5},
    "channels_last": {"first": 6, "body": 5},
    "counted": {"first": 5, "body.0.weight": 5, "body.1.weight": 5},
    "assigned": {"style": 6, "style#2": 5},
    "sliced_weight": {"weight": 4, "body": 5},
    "changed_views": {"first": 5},
}
"""Net -> its prunable groups and their channels: neither more nor fewer than can be exact."""
HELD = {
    "named_view": NAMED,
    "named_split": NAMED,
    "fused_attention": "the scale of an attention depends on its number",
    "multi_head": "nn.MultiheadAttention is kept whole",
    "not_thinned": "a normalisation over 1 sets of channels reads it",
    "subclasses": "'mean' over all its channels reads it",
}


def build(net: str) -> nn.Module:
    """A factory, as a user would name it."""
    return NETS[net].build()


def teacher_of(name: str) -> nn.Module:
    torch.manual_seed(1)
    return randomise(build(name).double().eval(), torch.Generator().manual_seed(1))


@functools.cache
def prepared(name: str) -> Student:
    return prepare(teacher_of(name), inputs_of(NETS[name].takes, 16), bits=None)


def damaged(student: Student, seed: int, share: float, emptied: int = -1) -> Student:
    """The student with random weights, gates of either sign, and zeros among the gates."""
    generator = torch.Generator().manual_seed(seed)
    student = copy.deepcopy(student)
    randomise(student.module, generator)
    for place, gate in enumerate(student.gates):
        noise = torch.randn(gate.shape, generator=generator, dtype=gate.dtype)
        dead = torch.rand(gate.shape, generator=generator) < share
        gate.data.copy_(noise.masked_fill(dead | (place == emptied), 0.0))
    return student.eval()


def difference(left: nn.Module, right: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """Largest difference of any output, relative to its largest value."""
    with torch.no_grad():
        ours, other = left(*inputs), right(*inputs)
    pairs = zip(ours, other, strict=True) if isinstance(ours, tuple) else [(ours, other)]
    worst = [float((a - b).abs().max() / b.abs().max().clamp_min(1e-3)) for a, b in pairs]
    assert all(value == value for value in worst), "not a number"
    return max(worst)


def check_groups(graph: GroupGraph, module: nn.Module) -> None:
    """Every channel of every layer stands in exactly one group."""
    seen: dict[tuple[str, int], list[int]] = {}
    for group in graph.groups:
        for member in group.members:
            seen.setdefault((member.tensor, member.axis), []).extend(member.positions.tolist())
    for (name, axis), places in seen.items():
        assert sorted(places) == list(range(graph.shapes[name][axis])), (name, axis)
    for path, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            for axis in (0, 1):
                shared = f"{path}.weight" not in graph.shapes  # told under its first name
                assert shared or layer.weight.shape[axis] == 1 or (f"{path}.weight", axis) in seen


@pytest.mark.parametrize("name", NETS)
def test_every_channel_stands_in_one_group_and_those_that_can_go_are_known(name: str) -> None:
    student = prepared(name)
    check_groups(student.graph, student.module)
    assert {g.name: g.channels for g in student.graph.prunable} == PRUNABLE[name]
    reasons = {group.protected for group in student.graph.groups}
    assert HELD.get(name, "it is the output") in reasons


@pytest.mark.parametrize("name", NETS)
def test_a_prepared_student_computes_what_the_teacher_does(name: str) -> None:
    teacher = teacher_of(name)
    before = copy.deepcopy(teacher.state_dict())
    inputs = inputs_of(NETS[name].takes, 20, seed=3, batch=2)
    assert difference(prepared(name), teacher, inputs) < 1e-14
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())


@pytest.mark.parametrize("name", NETS)
def test_extraction_is_exact(name: str) -> None:
    for seed, (share, emptied) in enumerate([(0.3, -1), (0.5, 0), (0.8, 1), (0.0, 0)]):
        student = damaged(prepared(name), seed, share, emptied)
        small = extract(student)
        for size in (16, 28):
            inputs = inputs_of(NETS[name].takes, size, seed=7, batch=2)
            assert difference(small, student, inputs) < EXACT


@pytest.mark.parametrize("name", NETS)
def test_a_cut_in_the_middle_is_exact_and_a_second_extraction_changes_nothing(name: str) -> None:
    student = damaged(prepared(name), 11, 0.4)
    inputs = inputs_of(NETS[name].takes, 16, seed=2)
    slim = copy.deepcopy(student)
    cut(slim, slim.alive())
    small = extract(slim)
    assert difference(slim, student, inputs) < EXACT
    assert difference(small, student, inputs) < EXACT
    again = extract(prepare(small, inputs, bits=None))
    ours, other = small.state_dict(), again.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in ours.items())
    assert [type(m) for m in again.modules()] == [type(m) for m in small.modules()]


@pytest.mark.parametrize("name", NETS)
def test_a_quantised_student_survives_the_file(name: str, tmp_path: Path) -> None:
    inputs = inputs_of(NETS[name].takes, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old weight norm, built anew
        student = prepare(teacher_of(name), inputs, bits=8)
        calibrate(student, [inputs])
        for gate in student.gates:
            gate.data[1::2] = 0.0
        small = extract(student).float()
        spec = GeneratorSpec(f"{__name__}:build", {"net": name})
        path = tmp_path / "generator.safetensors"
        save_generator(small, path, spec)
        loaded = load_generator_file(path, factory=spec.name)
    single = tuple(x.float() if x.is_floating_point() else x for x in inputs)
    assert difference(loaded, small, single) < 1e-5


def random_inputs(size: int, seed: int, batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    (image,) = inputs_of("image", size, seed, batch)
    return image, torch.rand(batch, STYLE, generator=generator, dtype=torch.float64)


random_seeds = st.integers(0, 2**30)
drawn = settings(
    max_examples=RANDOM_NETS,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
)


def random_teacher(seed: int) -> RandomNet:
    torch.manual_seed(seed)
    net = RandomNet(seed).double().eval()
    randomise(net, torch.Generator().manual_seed(seed))
    return net


def check_random_net(seed: int) -> None:
    """Slim the random net of this number in float64, and assert all that must hold exactly."""
    teacher = random_teacher(seed)
    student = prepare(teacher, random_inputs(16, 0, 1), bits=None)
    check_groups(student.graph, student.module)
    assert difference(student, teacher, random_inputs(12, 3, 2)) < 1e-12
    broken = damaged(student, seed, 0.5)
    small = extract(broken)
    assert difference(small, broken, random_inputs(16, 5, 2)) < EXACT
    assert difference(small, broken, random_inputs(24, 6, 1)) < EXACT
    again, whole = extract(prepare(small, random_inputs(16, 0, 1), bits=None)), small.state_dict()
    assert all(torch.equal(value, whole[key]) for key, value in again.state_dict().items())


@drawn
@given(random_seeds)
def test_random_nets_are_slimmed_exactly(seed: int) -> None:
    check_random_net(seed)


def test_half_of_the_channels_of_animegan_v2_are_three_quarters_of_its_work() -> None:
    """The cartoon generator with a norm over all channels behind every convolution."""
    graph = prepared("anime_gan_v2").graph
    prunable = sum(group.channels for group in graph.prunable)
    assert prunable >= 0.97 * sum(group.channels for group in graph.groups)
    half = {g.name: torch.arange(g.channels) < g.channels // 2 for g in graph.prunable}
    assert macs_left(graph, half) < 0.3 * macs_left(graph, {})


PRODUCTS = {
    "self_attention", "tokens", "blurred", "per_channel_blur", "fused_attention", "sliced_weight",
}  # fmt: skip
"""Nets with products of activations alone, with fixed kernels, or with parts of weights."""


@pytest.mark.parametrize("name", sorted(set(NETS) - {"multi_head"}))
def test_the_groups_know_the_work_that_weights_do(name: str) -> None:
    """multi_head is left out: torch's counter does not look into its fused kernel."""
    net = NETS[name]
    module, inputs = net.build().double().eval(), inputs_of(net.takes, 16)
    student = prepare(module, inputs, bits=None)
    found = macs_left(student.graph, {})
    whole = count(module, inputs).macs
    assert parameters_left(student.graph, {}) == sum(p.numel() for p in student.parameters()) - sum(
        gate.numel() for gate in student.gates
    )
    assert found <= whole if name in PRODUCTS else found == whole
