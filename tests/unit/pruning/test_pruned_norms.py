"""Norms over all channels, some of which are gone: as if those were there and zero."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.pruning.discovery import find_groups
from gan_slimming.pruning.pruned_norms import PrunedGroupNorm, PrunedLayerNorm, as_if_whole
from gan_slimming.pruning.slicing import slice_tensors
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import cut, extract

NORMS = [
    (nn.GroupNorm(1, 7), (2, 7, 5, 3)),
    (nn.GroupNorm(1, 7, eps=0.1), (3, 7)),
    (nn.LayerNorm(7), (2, 5, 7)),
    (nn.LayerNorm(7, bias=False), (2, 3, 5, 7)),
]
each = pytest.mark.parametrize(("norm", "shape"), NORMS)


def random_norm(norm: nn.Module) -> nn.Module:
    norm = copy.deepcopy(norm).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


def pruned(norm: nn.Module, kept: Tensor) -> nn.Module:
    small = copy.deepcopy(norm)
    names = [name for name, _ in small.named_parameters()]
    slice_tensors(small, {(name, 0): kept for name in names})
    return small


@each
def test_what_is_gone_counts_as_zero(norm: nn.Module, shape: tuple[int, ...]) -> None:
    norm, axis = random_norm(norm), 1 if isinstance(norm, nn.GroupNorm) else -1
    values = torch.randn(shape, dtype=torch.float64) + 3.0  # a mean that is far from zero
    kept = torch.tensor([0, 2, 3, 6])
    gone = torch.tensor([1, 4, 5])
    expected = norm(values.index_fill(axis, gone, 0.0)).index_select(axis, kept)
    small = pruned(norm, kept)
    torch.testing.assert_close(
        small(values.index_select(axis, kept)), expected, rtol=1e-12, atol=1e-12
    )
    # And by a second cut: still of seven, not of four.
    again = pruned(small, torch.tensor([1, 2]))
    kept, gone = torch.tensor([2, 3]), torch.tensor([0, 1, 4, 5, 6])
    expected = norm(values.index_fill(axis, gone, 0.0)).index_select(axis, kept)
    torch.testing.assert_close(
        again(values.index_select(axis, kept)), expected, rtol=1e-12, atol=1e-12
    )
    assert "whole_channels=7" in repr(again)


@each
def test_a_norm_of_the_channels_left_alone_is_something_else(
    norm: nn.Module, shape: tuple[int, ...]
) -> None:
    """The known mistake, to show that the test above bites."""
    norm, axis = random_norm(norm), 1 if isinstance(norm, nn.GroupNorm) else -1
    kept = torch.tensor([0, 2, 3, 6])
    values = (torch.randn(shape, dtype=torch.float64) + 3.0).index_select(axis, kept)
    small = pruned(norm, kept)
    assert float((as_if_whole(small)(values) - small(values)).detach().abs().max()) > 0.1


@each
def test_nothing_cut_is_the_layer_of_torch(norm: nn.Module, shape: tuple[int, ...]) -> None:
    same = pruned(norm, torch.arange(7))
    assert type(same) is type(norm)
    assert not hasattr(same, "whole_channels")


def test_gradients_are_those_of_the_whole_norm() -> None:
    norm = random_norm(nn.GroupNorm(1, 5))
    kept = torch.tensor([0, 3])
    values = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    padded = torch.zeros(2, 5, 4, 4, dtype=torch.float64).index_copy(1, kept, values)
    weights = torch.randn(2, 2, 4, 4, dtype=torch.float64)
    loss = (norm(padded).index_select(1, kept) * weights).sum()
    (expected,) = torch.autograd.grad(loss, values)
    (found,) = torch.autograd.grad((pruned(norm, kept)(values) * weights).sum(), values)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_statistics_are_taken_in_float32_under_autocast() -> None:
    norm = pruned(nn.GroupNorm(1, 4), torch.tensor([0, 1]))
    values = torch.randn(1, 2, 64, 64) + 20.0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = norm(values.bfloat16())
    assert found.dtype == torch.float32
    assert torch.equal(found, norm(values.bfloat16().float()))
    assert norm.bfloat16()(values.bfloat16()).dtype == torch.bfloat16


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.GroupNorm(1, 6), nn.LeakyReLU(0.2), nn.Conv2d(6, 3, 1)
    ).double()


def test_the_layer_in_front_of_the_norm_and_the_norm_share_a_gate() -> None:
    group = next(g for g in find_groups(net(), (torch.zeros(1, 3, 8, 8).double(),)).prunable)
    assert [gate.tensor for gate in group.gated] == ["0.gate", "1.gate"]
    assert group.channels == 6


def test_what_no_gate_can_silence_in_front_of_the_norm_stays() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm, self.last = nn.Conv2d(3, 6, 1), nn.GroupNorm(1, 6), nn.Conv2d(
                6, 3, 1)  # fmt: skip

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.norm(F.softplus(self.first(x))))

    graph = find_groups(Shifted(), (torch.zeros(1, 3, 8, 8),))
    assert graph.prunable == []
    assert "'softplus' of zero is not zero" in {group.protected for group in graph.groups}


def test_a_net_that_was_cut_can_be_cut_again() -> None:
    teacher = net()
    image = torch.randn(1, 3, 12, 12, dtype=torch.float64)
    student = prepare(teacher, (image,), bits=None)
    student.gates[0].data[[1, 4]] = 0
    small = extract(student)
    assert isinstance(small.get_submodule("1"), PrunedGroupNorm)
    again = prepare(small, (image,), bits=None)
    assert [g.channels for g in again.graph.prunable] == [4]
    again.gates[0].data[2] = 0
    cut(again, again.alive())
    again.gates[0].data[0] = 0
    smallest = extract(again)
    student.gates[0].data[[0, 3]] = 0  # of six, what was the third of those left, then the first
    assert "whole_channels=6" in repr(smallest)
    torch.testing.assert_close(smallest(image), student(image), rtol=1e-12, atol=1e-12)


def test_with_nothing_cut_torchs_own_layer_comes_out() -> None:
    student = prepare(net(), (torch.zeros(1, 3, 12, 12).double(),), bits=None)
    small = extract(student)
    assert type(small.get_submodule("1")) is nn.GroupNorm
    student.gates[0].data[3] = 0
    assert type(extract(student).get_submodule("1")) is PrunedGroupNorm


def test_the_walk_sees_a_thinned_norm_as_one_call() -> None:
    small = pruned(nn.Sequential(nn.LayerNorm(4)).get_submodule("0"), torch.tensor([0, 1]))
    assert type(small) is PrunedLayerNorm
    assert type(as_if_whole(nn.Sequential(small))[0]) is nn.LayerNorm
    assert type(small) is PrunedLayerNorm
    plain = nn.Sequential(nn.ReLU())
    assert as_if_whole(plain) is plain
