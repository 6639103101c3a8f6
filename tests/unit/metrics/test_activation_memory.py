"""Peak memory of activations in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.metrics.activation_memory import peak_activation_bytes


class Chain(nn.Module):
    """1x1 convolutions 4 -> 16 -> 2; each result is dropped once it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 16, 1), nn.Conv2d(16, 2, 1)

    def forward(self, values: Tensor) -> Tensor:
        return self.second(self.first(values))


class Skip(Chain):
    """Keeps the widest result to the end."""

    def forward(self, values: Tensor) -> Tensor:
        wide = self.first(values)
        narrow = self.second(wide)
        return torch.cat([wide, narrow], dim=1)


def test_inputs_and_results_that_exist_at_once() -> None:
    pixels, number = 10 * 12, 4
    inputs = (torch.rand(1, 4, 10, 12),)
    assert peak_activation_bytes(Chain(), inputs) == (4 + 16 + 2) * pixels * number
    assert peak_activation_bytes(Skip(), inputs) == (4 + 16 + 2 + 18) * pixels * number


def test_in_place_operations_and_views_take_nothing() -> None:
    class Quiet(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return F.relu(values + 0, inplace=True).flatten(1).view(2, -1)

    inputs = (torch.rand(2, 3, 4, 5),)
    assert peak_activation_bytes(Quiet(), inputs) == 2 * 2 * 60 * 4


def test_a_batch_counts_as_often() -> None:
    one, two = (peak_activation_bytes(Chain(), (torch.rand(n, 4, 6, 6),)) for n in (1, 2))
    assert two == 2 * one
