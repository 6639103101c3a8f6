"""Computed weights become plain ones, and the original stays as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from gan_slimming.pruning.reparametrised import make_plain, plain_copy

IMAGE = torch.rand(1, 3, 6, 6)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # the old weight norm warns of itself
@pytest.mark.parametrize(
    "norm",
    [spectral_norm, weight_norm, parametrizations.spectral_norm, parametrizations.weight_norm],
)
def test_a_plain_copy_computes_the_same(norm) -> None:
    layer = norm(nn.Conv2d(3, 4, 3))
    layer(IMAGE)  # leaves a computed weight behind, which cannot be copied as it is
    copied = plain_copy(nn.Sequential(layer))
    layer.eval()
    assert [name for name, _ in copied.named_parameters()] == ["0.bias", "0.weight"] or [
        name for name, _ in copied.named_parameters()
    ] == ["0.weight", "0.bias"]
    assert type(copied[0]) is nn.Conv2d
    torch.testing.assert_close(copied(IMAGE), layer(IMAGE))
    assert "weight" not in dict(layer.named_parameters(recurse=False))


def test_folding_names_the_weights_and_unflatten_counts_for_itself() -> None:
    module = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 8)),
        nn.Unflatten(1, (2, 2, 2)),
        nn.Conv2d(2, 3, 1),
    )
    assert make_plain(module) == ["0.weight"]
    assert module[1].unflattened_size == (-1, 2, 2)  # pyright: ignore
    values: Tensor = module(torch.zeros(1, 4))
    assert values.shape == (1, 3, 2, 2)


def test_the_weights_of_a_frozen_network_stay_parameters() -> None:
    layer = parametrizations.weight_norm(nn.Conv2d(3, 4, 3)).requires_grad_(False)
    assert [n for n, _ in plain_copy(layer).named_parameters()] == ["bias", "weight"]
