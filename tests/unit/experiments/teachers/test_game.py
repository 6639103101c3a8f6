"""What games share: the decay of the rate, random numbers, and a player that diverges."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from gan_slimming.experiments.teachers.game import Player, Random, linear_decay
from gan_slimming.training.divergence import Diverged


def test_the_rate_falls_on_a_line() -> None:
    assert [linear_decay(share, 0.0) for share in (0, 0.25, 1)] == [1, 0.75, 0]
    assert [linear_decay(share, 0.5) for share in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]
    assert linear_decay(1.0, 1.0) == 1


def test_random_numbers_go_on_from_their_state() -> None:
    random, other = Random("a"), Random("b")
    random.normal(3)
    state = random.state_dict()
    wanted = random.normal(4), random.whole(9, 5)
    other.load_state_dict(state)
    assert torch.equal(other.normal(4), wanted[0])
    assert torch.equal(other.whole(9, 5), wanted[1])
    assert not torch.equal(Random("b").normal(4), Random("a").normal(4))


def test_a_player_leaves_out_steps_that_are_not_finite_and_then_gives_up(fabric: Fabric) -> None:
    layer = nn.Linear(2, 1)
    player = Player(fabric, {"net": layer}, 0.1, (0.0, 0.9))
    weight = layer.weight
    before = weight.detach().clone()
    for _ in range(2):
        player.step((weight * float("nan")).sum())
    assert torch.equal(weight, before)
    with pytest.raises(Diverged, match="take a lower --lr"):
        player.step((weight * float("inf")).sum())
