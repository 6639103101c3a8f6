"""The trial cut: numbers of channels in a forward are found, other differences are refused."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.config import UserError
from gan_slimming.pruning.discovery import find_groups
from gan_slimming.pruning.probe import NAMED

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


def test_what_a_cut_would_change_is_refused_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"'first' would change .*--protect 'first'"):
        find_groups(Scaled(), EXAMPLE)
    assert find_groups(Scaled(), EXAMPLE, protect=["first"]).prunable == []


def test_a_trial_leaves_the_module_alone() -> None:
    module = Viewed()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    find_groups(module, EXAMPLE)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
