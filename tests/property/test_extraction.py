"""extract(student)(x) == student(x), for nets of every construction, any weights and any mask."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gan_slimming.models import CartoonGenerator, ResnetGenerator
from gan_slimming.quantization.affine import weight_scale
from gan_slimming.student.student import Student, calibrate, prepare
from gan_slimming.student.surgery import cut, extract

EXACT = 1e-10
"""Largest difference, relative to the largest output, in float64."""


class Residual(nn.Module):
    """x + branch(x)."""

    def __init__(self, *branch: nn.Module):
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class UNet(nn.Module):
    """Concatenated skips, BatchNorm, transposed convolution, max pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.up = nn.ConvTranspose2d(6, 5, 2, 2)
        self.join = nn.Conv2d(9, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.first(x)
        up = self.up(self.down(F.max_pool2d(first, 2)))
        joined = F.leaky_relu(self.join(torch.cat([up, first], dim=1)), 0.2)
        return self.last(torch.cat([joined, first], dim=-3))


class Shared(nn.Module):
    """One convolution called twice, a module called `gate`, a layer of an unknown type."""

    class Doubled(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.gate = nn.Conv2d(5, 5, 3, padding=1)
        self.doubled = self.Doubled(5, 6, 1)
        self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))
        self.third = nn.Conv2d(6, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gate(F.relu(self.gate(F.relu(self.first(x)))))
        return self.last(self.scale * self.third(F.relu(self.doubled(x))))


class Masked(nn.Module):
    """An attention mask of one channel, a product of two branches, a difference."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 5, 3, padding=1)
        self.mask = nn.Conv2d(5, 1, 1)
        self.last = nn.Conv2d(5, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        return self.last((left * right - left) * torch.tanh(self.mask(left)))


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        Residual(
            nn.Conv2d(6, 8, 1, bias=False),
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.InstanceNorm2d(8),
            nn.SiLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.Conv2d(8, 6, 1),
        ),
        nn.ConvTranspose2d(6, 6, 2, 2, groups=6),
        nn.Conv2d(6, 3, 1),
    )


def super_resolution() -> nn.Module:
    """No norm at all: PReLU of one slope and of many, PixelShuffle."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.PReLU(5),
        Residual(nn.Conv2d(5, 4, 3, padding=1), nn.PReLU(), nn.Conv2d(4, 5, 3, padding=1)),
        nn.Conv2d(5, 12, 3, padding=1),
        nn.PixelShuffle(2),
        nn.LeakyReLU(0.1),
        nn.Conv2d(3, 3, 3, padding=1),
    )


def preactivation() -> nn.Module:
    """The stream carries no gate of its own: BatchNorm stands before every reader."""

    def block() -> nn.Module:
        first = (nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1))
        return Residual(*first, nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1))

    head, tail = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 3, 3, padding=1)
    return nn.Sequential(head, block(), block(), nn.BatchNorm2d(5), nn.ReLU(), tail, nn.Tanh())


def grouped() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(8, 12, 3, padding=1, groups=2),
        nn.GroupNorm(3, 12),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.ConvTranspose2d(12, 4, 3, padding=1, groups=2),
        nn.ELU(),
        nn.Conv2d(4, 3, 1),
    )


def nested() -> nn.Module:
    def inner() -> nn.Module:
        return Residual(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))

    outer = Residual(inner(), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, affine=False))
    return nn.Sequential(nn.Conv2d(3, 4, 1), outer, inner(), nn.ReLU(), nn.Conv2d(4, 3, 1))


NETS: dict[str, Callable[[], nn.Module]] = {
    "cartoongan": lambda: CartoonGenerator(width=4, blocks=2),
    "cyclegan": lambda: ResnetGenerator(width=4, blocks=2),
    "unet": UNet,
    "shared": Shared,
    "masked": Masked,
    "depthwise": depthwise,
    "super_resolution": super_resolution,
    "preactivation": preactivation,
    "grouped": grouped,
    "nested": nested,
}


def build(name: str) -> nn.Module:
    torch.manual_seed(1)
    return randomise(NETS[name]().double().eval(), torch.Generator().manual_seed(1))


def randomise(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """Weights, scales, shifts and running statistics, all random and none of them zero."""
    for name, tensor in module.state_dict(keep_vars=True).items():
        if name.startswith("gates") or "quantizer" in name or not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        fan = tensor[0].numel() if tensor.dim() > 1 else 1
        if name.endswith("running_var"):
            noise = noise.abs() + 0.5
        tensor.data.copy_(noise / fan**0.5)
    return module


def image(size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, size, size + 4, generator=generator, dtype=torch.float64) * 2 - 1


@functools.cache
def prepared(name: str, bits: int | None) -> Student:
    return prepare(build(name), (image(16),), bits=bits)


def damaged(name: str, bits: int | None, seed: int, share: float, emptied: int) -> Student:
    """A student with random weights, gates of either sign, and zeros among the gates."""
    generator = torch.Generator().manual_seed(seed)
    student = copy.deepcopy(prepared(name, bits))
    randomise(student.module, generator)
    for quantizer, weight in student.quantized_weights():
        quantizer.scale.copy_(weight_scale(weight, quantizer.axis, quantizer.bits))
    calibrate(student, [(image(16, seed),)])
    for place, gate in enumerate(student.gates):
        noise = torch.randn(gate.shape, generator=generator, dtype=gate.dtype)
        dead = torch.rand(gate.shape, generator=generator) < share
        gate.data.copy_(noise.masked_fill(dead | (place == emptied), 0.0))
    return student.eval()


def difference(left: nn.Module, right: nn.Module, size: int) -> float:
    with torch.no_grad():
        ours, other = left(image(size, 7)), right(image(size, 7))
    return float((ours - other).abs().max() / other.abs().max().clamp_min(1e-3))


@pytest.mark.parametrize("name", NETS)
def test_a_prepared_student_computes_what_the_teacher_does(name: str) -> None:
    assert difference(prepared(name, None), build(name), 20) == 0


@pytest.mark.parametrize("blocks", [6, 9])
def test_a_prepared_cyclegan_of_the_paper_computes_what_the_teacher_does(blocks: int) -> None:
    teacher = ResnetGenerator(width=2, blocks=blocks).double().eval()
    assert difference(prepare(teacher, (image(16),), bits=None), teacher, 20) == 0


@pytest.mark.parametrize("bits", [None, 8])
@pytest.mark.parametrize("name", NETS)
@settings(max_examples=6, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(st.integers(0, 2**30), st.floats(0.0, 1.0), st.integers(-1, 8))
def test_extraction_is_exact(
    name: str, bits: int | None, seed: int, share: float, emptied: int
) -> None:
    student = damaged(name, bits, seed, share, emptied)
    small = extract(student)
    assert difference(small, student, 16) < EXACT
    assert difference(small, student, 28) < EXACT


@pytest.mark.parametrize("name", NETS)
def test_extraction_takes_every_dead_channel_out(name: str) -> None:
    student = damaged(name, None, 3, 0.5, -1)
    alive = {key: max(1, int(mask.sum())) for key, mask in student.alive().items()}
    again = prepare(extract(student), (image(16),), bits=None)
    # A group of one channel is none to a fresh walk: nothing could be taken out of it.
    left = sum(count for count in alive.values() if count > 1)
    assert sum(g.channels for g in again.graph.prunable) == left
    assert sum(alive.values()) < sum(g.channels for g in student.graph.prunable)


@pytest.mark.parametrize("name", NETS)
def test_a_second_extraction_changes_nothing(name: str) -> None:
    student = damaged(name, None, 5, 0.4, 1)
    small = extract(student)
    once_more = extract(prepare(small, (image(16),), bits=None))
    assert {k: v.shape for k, v in once_more.state_dict().items()} == {
        k: v.shape for k, v in small.state_dict().items()
    }
    assert all(
        torch.equal(a, b) for a, b in zip(once_more.parameters(), small.parameters(), strict=True)
    )
    twice = extract(student)
    assert all(torch.equal(v, small.state_dict()[k]) for k, v in twice.state_dict().items())


@pytest.mark.parametrize("name", NETS)
def test_with_nothing_pruned_the_extracted_net_is_the_teacher(name: str) -> None:
    teacher, small = build(name), extract(prepared(name, None))
    ours = small.state_dict()
    assert all(torch.equal(tensor, ours[key]) for key, tensor in teacher.state_dict().items())
    assert [type(m) for m in small.modules()] == [type(m) for m in teacher.modules()]


@pytest.mark.parametrize("bits", [None, 8])
@pytest.mark.parametrize("name", NETS)
def test_cutting_in_the_middle_leaves_the_function(name: str, bits: int | None) -> None:
    # No group is empty: behind one, maps are flat, and norms blow up what rounding leaves of that.
    student = damaged(name, bits, 12, 0.3, -1)
    slim = copy.deepcopy(student)
    cut(slim, slim.alive())
    assert difference(slim, student, 20) < EXACT
    assert difference(extract(slim), student, 20) < EXACT
    assert sum(p.numel() for p in slim.parameters()) < sum(p.numel() for p in student.parameters())
