"""The verified cut: numbers of channels in a forward are found, other differences are held."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tests.property.foreign_numbers import SlicedWeight
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.pruning.discovery import find_groups
from gan_slimming.pruning.verify_cut import CHANGES, NAMED
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract

EXAMPLE = (torch.zeros(1, 3, 8, 8),)


class Viewed(nn.Module):
    """One view that names its channels, one that does not, in one forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)
        self.last = nn.Conv2d(5, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x)).view(1, 4, -1).view(1, 4, x.shape[2], x.shape[3])
        x = F.relu(self.second(x))
        return self.last(x.flatten(2).unflatten(2, (x.shape[2], x.shape[3])))


class Scaled(nn.Module):
    """A number that is made of the number of channels, which the graph shows as any other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 7, 1), nn.Conv2d(7, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x / math.sqrt(x.shape[1]))


def test_only_the_view_that_names_its_channels_holds_them() -> None:
    graph = find_groups(Viewed(), EXAMPLE)
    assert [group.name for group in graph.prunable] == ["second"]
    assert [g.channels for g in graph.groups if g.protected == NAMED] == [4]


def test_what_a_cut_would_change_is_held_and_the_rest_is_cut_exactly() -> None:
    (group,) = (g for g in find_groups(Scaled(), EXAMPLE).groups if g.channels == 7)
    assert group.protected == f"{CHANGES} (the result differs)"
    net = nn.Sequential(Scaled(), nn.ReLU(), nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Conv2d(5, 3, 1))
    student = prepare(net.double().eval(), (EXAMPLE[0].double(),), bits=None)
    assert {g.name: g.channels for g in student.graph.prunable} == {"0.last": 3, "2": 5}
    for gate in student.gates:
        gate.data[1:] = 0.0
    small = extract(student)
    assert small.get_submodule("0.first").out_channels == 7
    image = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(small(image), student(image), rtol=0, atol=1e-12)


def test_groups_that_can_be_cut_one_by_one_but_not_together_are_held() -> None:
    class Together(nn.Module):
        """Two of four widths exclude each other, and one is a number in the arithmetic."""

        def __init__(self) -> None:
            super().__init__()
            self.left, self.odd = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 7, 1)
            self.other, self.right = nn.Conv2d(3, 5, 1), nn.Conv2d(3, 8, 1)
            self.ends = nn.ModuleList([nn.Conv2d(n, 3, 1) for n in (6, 7, 5, 8)])

        def forward(self, x: Tensor) -> Tensor:
            odd = self.odd(x)
            left, other, right = self.left(x), self.other(x), self.right(x)
            maps = (left, odd / math.sqrt(odd.shape[1]), other, right)
            ends = [end(m) for end, m in zip(self.ends, maps, strict=True)]
            made = torch.stack(ends).sum(0)
            return made if left.shape[1] == 6 or right.shape[1] == 8 else made * 2

    graph = find_groups(Together(), EXAMPLE)
    assert graph.prunable == []
    assert all(CHANGES in g.protected for g in graph.groups if g.channels > 3)


def test_a_trial_leaves_the_module_alone() -> None:
    module = Viewed()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    find_groups(module, EXAMPLE)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_parts_of_a_weight_that_a_number_slices_are_one_group() -> None:
    graph = find_groups(SlicedWeight(), (torch.zeros(1, 3, 8, 8),))
    assert {g.name: g.channels for g in graph.prunable} == {"weight": 4, "body": 5}


class Rooted(nn.Module):
    """The root of numbers that are drawn from [-1, 1], or from [0, 1]."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.first, self.last, self.shift = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1), shift

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first((x - self.shift).sqrt()).flatten(2).unflatten(2, x.shape[2:]))


def test_images_from_zero_on_are_tried_where_others_give_no_number() -> None:
    assert [g.name for g in find_groups(Rooted(0.0), (torch.zeros(1, 3, 8, 8),)).prunable] == [
        "first"
    ]


def test_a_generator_that_gives_no_numbers_at_all_is_refused() -> None:
    with pytest.raises(UserError, match=r"infinite or no number \(NaN\)"):
        find_groups(Rooted(2.0), (torch.zeros(1, 3, 8, 8),))


def test_large_images_are_tried_small() -> None:
    sides: list[int] = []

    class Watched(Rooted):
        def forward(self, x: Tensor) -> Tensor:
            sides.append(int(x.shape[3]))
            return super().forward(x)

    find_groups(Watched(-2.0), (torch.zeros(1, 3, 8, 256),))
    assert set(sides) == {64, 256}
