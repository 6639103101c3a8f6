"""Computed weights become plain ones, and the original stays as it is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from gan_slimming.data.whole_copy import whole_copy
from gan_slimming.pruning.reparametrised import make_plain, plain_copy
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract

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


@pytest.mark.parametrize("norm", [spectral_norm, parametrizations.spectral_norm])
def test_a_whole_copy_keeps_its_parametrisation(norm) -> None:
    layer = norm(nn.Conv2d(3, 4, 3))
    layer(IMAGE)
    copied = whole_copy(layer)
    assert copied.state_dict().keys() == layer.state_dict().keys()
    torch.testing.assert_close(copied.eval()(IMAGE), layer.eval()(IMAGE))


def test_the_weights_of_a_frozen_network_stay_parameters() -> None:
    layer = parametrizations.weight_norm(nn.Conv2d(3, 4, 3)).requires_grad_(False)
    assert [n for n, _ in plain_copy(layer).named_parameters()] == ["bias", "weight"]


class Hooked(nn.Module):
    """Features that a hook keeps for a later layer, in a lambda or a function with the module."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 3, 1)
        self.kept: list[Tensor] = []

        def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.kept = [output]

        hooks = {"lambda": lambda _m, _i, out: setattr(self, "kept", [out]), "function": keep}
        self.first.register_forward_hook(hooks.get(kind, self._keep))

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.kept = [output]

    def forward(self, x: Tensor) -> Tensor:
        self.first(x)
        return self.last(torch.relu(self.kept[0]))


@pytest.mark.parametrize("kind", ["lambda", "function", "method"])
def test_hooks_of_a_copy_write_to_the_copy(kind: str) -> None:
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    teacher = Hooked(kind).double().eval()
    student = prepare(teacher, (image,), bits=None)
    assert teacher.kept == []
    torch.testing.assert_close(student(image), teacher(image), rtol=0, atol=1e-12)
    student(image).sum().backward()
    assert student.module.kept[0].grad_fn is not None  # pyright: ignore
    student = copy.deepcopy(student)  # with features of its last forward
    (gate,) = student.gates
    gate.data[1:4] = 0.0
    small = extract(student)
    assert small.get_parameter("last.weight").shape[1] == 3
    torch.testing.assert_close(small(image), student(image), rtol=0, atol=1e-12)
    teacher.kept = []
    whole_copy(small)(image)
    assert teacher.kept == []
