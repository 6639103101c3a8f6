"""The final generator is a mean of the last students."""

import pytest
import torch
from torch import nn

from gan_slimming.training.ema import update_average


@pytest.mark.parametrize(("age", "share"), [(0, 0.1), (90, 0.91), (10**6, 0.998)])
def test_it_follows_closely_at_first(age: int, share: float) -> None:
    average, student = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.constant_(average.weight, 1.0)
    nn.init.constant_(student.weight, 2.0)
    nn.init.constant_(student.get_buffer("running_mean"), 5.0)
    update_average(average, student, 0.998, age)
    assert float(average.weight.detach()) == pytest.approx(2.0 - share, abs=1e-5)
    assert torch.equal(average.get_buffer("running_mean"), torch.tensor([5.0]))
    assert float(student.weight.detach()) == 2.0
