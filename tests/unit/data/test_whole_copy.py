"""A copy of any module computes the same, and writes nothing into the original."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from gan_slimming.data.whole_copy import whole_copy
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract

IMAGE = torch.rand(1, 3, 6, 6)


@pytest.mark.parametrize("norm", [spectral_norm, parametrizations.spectral_norm])
def test_a_whole_copy_keeps_its_parametrisation(norm) -> None:
    layer = norm(nn.Conv2d(3, 4, 3))
    layer(IMAGE)
    copied = whole_copy(layer)
    assert copied.state_dict().keys() == layer.state_dict().keys()
    torch.testing.assert_close(copied.eval()(IMAGE), layer.eval()(IMAGE))


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
