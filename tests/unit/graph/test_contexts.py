"""Contexts in a forward are followed through, and its random numbers can be shared or left out."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gan_slimming.graph.contexts import SharedNoise, ThroughNoGrad, WithoutNoise, keeping_features
from gan_slimming.graph.nodes import operator_name
from gan_slimming.graph.traced import TracedModule
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract

EXAMPLE = (torch.zeros(1, 3, 8, 8).double(),)


class Net(nn.Module):
    """Two convolutions, the first of which runs in a context."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1)
        self.last = nn.Conv2d(5, 3, 1)
        self.register_buffer("slope", torch.full((1, 6, 1, 1), 0.5))

    def inside(self, x: Tensor) -> Tensor:
        return torch.tanh(self.first(x)) * self.get_buffer("slope")

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(self.inside(x))))


class Checkpointed(Net):
    def forward(self, x: Tensor) -> Tensor:
        made = checkpoint(self.inside, x, use_reentrant=False)
        return self.last(torch.relu(self.second(made)))  # pyright: ignore


class Cast(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            x = self.inside(x)
        return self.last(torch.relu(self.second(x)))


class Stopped(Net):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            with torch.autocast("cpu", enabled=False):
                x = self.inside(x)
            return self.last(torch.relu(self.second(x)))


class HandWritten(Net):
    """Spectral norm as it was written before torch had one, with its vectors behind `.data`."""

    def __init__(self) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.nn.functional.normalize(torch.randn(5), dim=0), False)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.second.weight.view(5, -1)
        v = torch.nn.functional.normalize(flat.t().mv(self.u.data), dim=0)
        self.u.data = torch.nn.functional.normalize(flat.mv(v), dim=0)
        weight = self.second.weight / self.u.dot(flat.mv(v))
        x = torch.nn.functional.conv2d(self.inside(x), weight, self.second.bias, padding=1)
        return self.last(torch.relu(x))


@pytest.mark.parametrize("kind", [Checkpointed, Cast, Stopped])
def test_a_context_is_part_of_the_graph_and_its_channels_are_pruned_exactly(
    kind: Callable[[], nn.Module],
) -> None:
    teacher = kind().double().eval()
    plain, found = (TracedModule(m, EXAMPLE, ()) for m in (Net().double(), teacher))
    names = [
        [operator_name(n) for n in traced.graph.nodes if n.op == "call_function"]
        for traced in (plain, found)
    ]
    assert names[0] == names[1]
    assert found.stops_gradients == (kind is Stopped)
    student = prepare(teacher, EXAMPLE, bits=None)
    assert {g.name: g.channels for g in student.graph.prunable} == {"first": 6, "second": 5}
    for gate in student.gates:
        gate.data[1:4] = 0.0
    small, x = extract(student), torch.rand(2, 3, 12, 8).double()
    torch.testing.assert_close(small(x), student(x), rtol=0, atol=1e-12)
    assert small.get_parameter("second.weight").shape[:2] == (2, 3)


def test_gradients_pass_a_forward_under_no_grad_in_the_student() -> None:
    teacher = Stopped().double().eval()
    student, x = prepare(teacher, EXAMPLE, bits=None), torch.rand(1, 3, 8, 8).double()
    assert not teacher(x).requires_grad
    student(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in student.parameters())
    expected = Net().double()
    expected(x).square().mean().backward()
    torch.testing.assert_close(student.module.first.weight.grad, expected.first.weight.grad)  # pyright: ignore
    with ThroughNoGrad():
        assert teacher(x).requires_grad


def test_tensors_written_by_data_are_traced_and_stay_as_they_were() -> None:
    net = HandWritten()
    teacher = nn.Sequential(net, nn.ReLU(), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)).double().eval()
    before, x = net.u.detach().clone(), torch.rand(2, 3, 8, 8).double()
    student = prepare(teacher, EXAMPLE, bits=None)
    assert torch.equal(net.u, before)
    assert {g.name for g in student.graph.prunable} == {"0.last", "2"}  # the norm ties the others
    torch.testing.assert_close(student(x), teacher(x), rtol=0, atol=1e-12)
    for gate in student.gates:
        gate.data[:1] = 0.0
    torch.testing.assert_close(extract(student)(x), student(x), rtol=0, atol=1e-12)


SHAPE = (4, 2, 3, 3)
DRAWS: dict[str, Callable[[], Tensor]] = {
    "randn": lambda: torch.randn(SHAPE),
    "rand_like": lambda: torch.rand_like(torch.empty(SHAPE)),
    "normal_": lambda: torch.empty(SHAPE).normal_(),
    "scaled": lambda: torch.empty(SHAPE).normal_(3.0, std=0.1),
    "normal": lambda: torch.normal(3.0, 0.1, SHAPE),
    "of tensors": lambda: torch.normal(torch.full(SHAPE, 3.0), torch.full(SHAPE, 0.1)),
    "between": lambda: torch.empty(SHAPE).uniform_(5, 6),
}


@pytest.mark.parametrize("name", DRAWS)
def test_each_input_has_noise_of_its_own_wherever_it_stands(name: str) -> None:
    draw, seeds = DRAWS[name], [7, 3, 11, 5]
    with SharedNoise(seeds):
        first, second = draw(), draw()
    with SharedNoise(seeds[::-1]):
        other = draw()
    assert torch.equal(first.flip(0), other)
    for one, more in itertools.combinations([*first, *second], 2):
        assert not torch.equal(one, more)


@pytest.mark.parametrize("name", DRAWS)
def test_shared_noise_has_the_distribution_that_the_forward_asks_for(name: str) -> None:
    draw = DRAWS[name]
    with SharedNoise([1, 2, 3, 4]):
        shared = torch.stack([draw() for _ in range(40)])
    own = torch.stack([draw() for _ in range(40)])
    assert float(shared.mean()) == pytest.approx(float(own.mean()), abs=0.2 * float(own.std()))
    assert float(shared.std()) == pytest.approx(float(own.std()), rel=0.15)


def test_noise_without_an_axis_for_the_batch_is_the_same_in_every_batch() -> None:
    made = []
    for seeds in ([1, 2], [3, 4]):
        with SharedNoise(seeds):
            made.append(torch.randn(1, 1, 5, 5))
    assert torch.equal(*made)


def test_shared_noise_leaves_the_state_of_other_draws_in_step() -> None:
    """A teacher that draws more or less than its student must not move the run's numbers."""
    with SharedNoise([1, 2]):
        torch.randn(2, 3)
        after = torch.rand(2, 5)
    with SharedNoise([1, 2]):
        torch.randn(2, 7)
        assert torch.equal(torch.rand(2, 5), after)


def test_without_noise_there_are_zeros() -> None:
    with WithoutNoise():
        assert all(not draw().any() for draw in DRAWS.values())
    assert all(draw().any() for draw in DRAWS.values())


class Keeping(nn.Module):
    """A hook, or the forward itself, leaves a feature in an attribute for a later layer."""

    def __init__(self, hooked: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1)
        self.last, self.hooked, self.own = nn.Conv2d(12, 3, 1), hooked, "before"
        if hooked:
            self.first.register_forward_hook(keep_output)

    def forward(self, x: Tensor) -> Tensor:
        self.own = y = self.first(x)
        kept = self.first.kept if self.hooked else self.own
        return self.last(torch.cat([torch.relu(self.second(torch.relu(y))), kept], 1))  # pyright: ignore


def keep_output(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    layer.kept = output  # pyright: ignore


@pytest.mark.parametrize("hooked", [False, True])
def test_a_trace_leaves_no_features_behind(hooked: bool) -> None:
    net = Keeping(hooked).double().eval()
    TracedModule(net, EXAMPLE, ())
    assert net.own == "before"
    assert not hasattr(net.first, "kept")
    net(torch.rand(1, 3, 8, 8).double())  # features with a gradient are left behind
    student = prepare(net, EXAMPLE, bits=None)
    with torch.no_grad():
        for gate in student.gates:
            gate[::2] = 0.0
    image = torch.rand(2, 3, 8, 8).double()
    small = extract(student)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())
    torch.testing.assert_close(small(image), student(image), rtol=0, atol=1e-12)


def test_modules_that_a_forward_moves_are_traced_where_they_are() -> None:
    class Moving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv1d(2, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.layer.to(x.device)
            return self.layer.float()(x)

    net = Moving()
    held = net.layer.weight.detach()  # a second reader, as gates and quantisers are
    with keeping_features(net):
        traced = torch.export.export(net, (torch.rand(1, 2, 5),), strict=False)
    image = torch.rand(1, 2, 5)
    assert torch.equal(traced.module()(image), net(image))
    assert net.layer.weight.data_ptr() == held.data_ptr()
    assert net.double().layer.weight.dtype == torch.float64  # moves again afterwards
