"""The operator table: what is known is followed, what is unknown keeps its channels by name."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.graph.nodes import Forest
from gan_slimming.pruning.discovery import UnknownOperatorWarning, find_groups
from gan_slimming.pruning.groups import ChannelGroup
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract

EXAMPLE = (torch.zeros(1, 3, 8, 8),)


class Between(nn.Module):
    """Two convolutions with something between them."""

    def __init__(self, operation: Callable[[Tensor], Tensor], channels: int = 4):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.middle = operation
        self.last = nn.Conv2d(channels, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


def group_with(module: nn.Module, tensor: str, axis: int = 0) -> ChannelGroup:
    found = [
        group
        for group in find_groups(module, EXAMPLE).groups
        if any((m.tensor, m.axis) == (tensor, axis) for m in group.members)
    ]
    assert len(found) == 1
    return found[0]


def test_joined_slots_are_found_as_one() -> None:
    forest = Forest()
    left, right = forest.fresh(3), forest.fresh(3)
    forest.join(left, right)
    assert [forest.find(s) for s in right.tolist()] == left.tolist()


@pytest.mark.parametrize(
    "operation",
    [F.relu, torch.tanh, F.gelu, F.silu, lambda x: -x, lambda x: 2 * x, lambda x: x + x,
     lambda x: F.pad(x, (1, 1, 1, 1)), lambda x: F.pad(x, (1, 1, 1, 1), "reflect"),
     lambda x: F.interpolate(x, scale_factor=2), lambda x: F.max_pool2d(x, 2), lambda x: x / 3],
)  # fmt: skip
def test_operators_that_keep_zero_leave_channels_prunable(
    operation: Callable[[Tensor], Tensor],
) -> None:
    group = group_with(Between(operation), "first.weight")
    assert (group.protected, group.channels) == ("", 4)
    assert {(m.tensor, m.axis) for m in group.members} == {
        ("first.weight", 0), ("first.bias", 0), ("last.weight", 1)
    }  # fmt: skip


LOSE_ZERO = [
    lambda x: x + 1, lambda x: F.pad(x, (1, 1, 1, 1), value=0.5), torch.sigmoid, torch.exp,
    lambda x: F.hardtanh(x, 0.5, 1.0), lambda x: x + x.new_ones(1, 1, 8, 12),
]  # fmt: skip
"""Operators behind which a dead channel is a constant."""


@pytest.mark.parametrize("operation", LOSE_ZERO)
def test_operators_that_do_not_keep_zero_leave_the_gate_to_the_reader(
    operation: Callable[[Tensor], Tensor],
) -> None:
    torch.manual_seed(2)
    image = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    teacher = Between(operation).double().eval()
    student = prepare(teacher, (image[:1],), bits=None)
    assert torch.equal(student(image), teacher(image))
    (group,) = student.graph.prunable
    assert group.channels == 4
    assert [m.tensor for m in group.gated] == ["last.weight@1.gate"]
    (gate,) = student.gates
    gate.data = torch.tensor([0.7, 0.0, -1.3, 0.0], dtype=torch.float64)
    small = extract(student)
    assert small.get_submodule("first").out_channels == 2
    torch.testing.assert_close(small(image), student(image), rtol=0, atol=1e-13)
    without = copy.deepcopy(teacher)
    without.last.weight.data *= gate.data[:, None, None]
    torch.testing.assert_close(small(image), without(image), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [(lambda x: F.avg_pool2d(x + 1, 2), "is added"), (lambda x: torch.cumsum(x, 1), "over all"),
     (lambda x: x / x, "divided by"), (lambda x: x.rsqrt(), "of zero is infinite")],
)  # fmt: skip
def test_where_no_reader_can_carry_the_gate_the_channels_stay(
    operation: Callable[[Tensor], Tensor], reason: str
) -> None:
    module = Between(operation)
    module.last = nn.Conv2d(4, 4, 1, groups=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownOperatorWarning)
        assert reason in group_with(module, "first.weight").protected


def test_a_divisor_is_never_silenced_by_a_reader_either() -> None:
    assert "divided by" in group_with(Between(lambda x: x / x), "first.weight").protected


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1)])
def test_a_parameter_of_the_same_channels_goes_with_them(shape: tuple[int, ...]) -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(shape))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    group = group_with(Between(Scale()), "first.weight")
    assert group.protected == ""
    assert {m.tensor for m in group.members} >= {"middle.scale", "last.weight"}


def test_channels_that_meet_a_constant_are_protected() -> None:
    module = Between(lambda x: x * torch.ones(4, 1, 1))
    assert group_with(module, "first.weight").protected == "it is a constant"


def test_padded_channels_are_protected() -> None:
    module = Between(lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)), channels=6)
    assert group_with(module, "first.weight").protected == "its channels are padded"


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.logcumsumexp(x, dim=1)


def test_round_an_unknown_operator_all_channels_stay_and_it_is_named_with_its_place() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), Unknown(), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 3, 1))
    with pytest.warns(UnknownOperatorWarning, match=r"'logcumsumexp' in 1, so all stay") as caught:
        graph = find_groups(module, EXAMPLE)
    assert len(caught) == 1
    assert [(g.name, g.channels) for g in graph.prunable] == [("2", 5)]
    assert "operator 'logcumsumexp' is not understood" in {g.protected for g in graph.groups}
    graph = find_groups(module, EXAMPLE, protect=["1"])
    assert [(g.name, g.channels) for g in graph.prunable] == [("2", 5)]
    assert "the user protects it" in {g.protected for g in graph.groups}


def test_unknown_operators_in_many_places_are_one_line() -> None:
    class Top(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.body = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
            self.inner, self.last = Unknown(), nn.Conv2d(5, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.body(torch.logcumsumexp(self.first(x), dim=1))
            return self.last(self.inner(x))

    names = r"'logcumsumexp' in the generator, inner, so all stay there"
    with pytest.warns(UnknownOperatorWarning, match=names) as caught:
        assert find_groups(Top(), EXAMPLE).prunable == []
    assert len(caught) == 1
    with pytest.raises(UserError, match=r"names no operator.*'operator:fft'.*operator:conv2d"):
        find_groups(Top(), EXAMPLE, protect=["operator:logcumsumexp", "operator:fft"])


def test_an_unknown_operator_where_nothing_could_be_slimmed_is_let_pass() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x + torch.logcumsumexp(x, dim=1)) * torch.logcumsumexp(x, dim=2)

    assert [g.name for g in find_groups(Weighted(), EXAMPLE).prunable] == ["body.0"]


def test_a_pattern_covers_what_stands_inside_the_module() -> None:
    def part() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))

    module = nn.Sequential(part(), part())
    assert [g.name for g in find_groups(module, EXAMPLE, protect=["0"]).prunable] == ["1.0"]


def test_protected_modules_keep_their_channels() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1))
    graph = find_groups(module, EXAMPLE, protect=["2"])
    assert graph.prunable == []
    assert {g.protected for g in graph.groups} >= {"the user protects it"}


def test_what_cannot_be_traced_is_a_users_error() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if float(x.sum()) > 0 else -x

    with pytest.raises(UserError, match=r"cannot be traced"):
        find_groups(Branching(), EXAMPLE)


def test_depthwise_ties_input_to_output() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 3, 1)
    )
    assert group_with(module, "0.weight").name == group_with(module, "3.weight", 1).name


def test_pixel_shuffle_ties_what_becomes_one_channel() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.PixelShuffle(2), nn.Conv2d(2, 3, 1))
    group = group_with(module, "0.weight")
    assert group.channels == 2
    weight = next(m for m in group.members if m.tensor == "0.weight")
    assert weight.channels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_channels_of_a_concatenation_stand_behind_each_other() -> None:
    class Cat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 4, 1)
            self.last = nn.Conv2d(6, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.cat([self.a(x), self.b(x)], dim=1))

    group = group_with(Cat(), "b.weight")
    last = next(m for m in group.members if m.tensor == "last.weight")
    assert last.positions.tolist() == [2, 3, 4, 5]
    assert group_with(Cat(), "a.weight").name != group.name


def test_transposed_convolutions_count_input_positions() -> None:
    module = nn.Sequential(nn.ConvTranspose2d(3, 4, 3, 2), nn.Conv2d(4, 3, 1))
    graph = find_groups(module, EXAMPLE)
    assert graph.macs_per_element == {"0.weight": 64, "1.weight": 17 * 17}
    assert graph.quantized_layers == ["0", "1"]


@pytest.mark.parametrize("read_later", [False, True])
def test_a_view_that_is_changed_in_place_holds_what_else_reads_it(read_later: bool) -> None:
    def operation(x: Tensor) -> Tensor:
        view = x.flatten(2)
        view += torch.relu(view)
        return x if read_later else view.unflatten(2, x.shape[2:])

    reason = group_with(Between(operation), "first.weight").protected
    assert reason == ("a part of it is changed in place" if read_later else "")
