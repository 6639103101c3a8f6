"""Where gates stand, and which residual blocks can become the identity."""

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.pruning.discovery import find_groups

EXAMPLE = (torch.zeros(1, 3, 8, 8),)


def gates(module: nn.Module) -> set[str]:
    graph = find_groups(module, EXAMPLE)
    return {m.tensor.removesuffix(".gate") for g in graph.prunable for m in g.gated}


def test_a_convolution_without_norm_carries_the_gate_itself() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    assert gates(module) == {"0"}


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.InstanceNorm2d(4, affine=True)])
def test_a_convolution_before_a_norm_leaves_the_gate_to_it(norm: nn.Module) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.ReLU(), nn.Conv2d(4, 3, 1))
    assert gates(module) == {"1"}


def test_a_convolution_read_past_its_norm_needs_its_own_gate() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
            self.last = nn.Conv2d(4, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.last(x + self.norm(x))

    assert gates(Both()) == {"first", "norm"}


def test_group_norm_carries_the_gate_of_whole_sets() -> None:
    module = nn.Sequential(nn.Conv2d(3, 6, 1), nn.GroupNorm(3, 6), nn.Conv2d(6, 3, 1))
    group = next(g for g in find_groups(module, EXAMPLE).prunable)
    assert (group.channels, gates(module)) == (3, {"1"})
    weight = next(m for m in group.members if m.tensor == "0.weight")
    assert weight.channels.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_normalisation_over_all_channels_asks_for_zeros_in_front_of_it() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(1, 4), nn.Conv2d(4, 3, 1))
    assert gates(module) == {"0", "1"}


@pytest.mark.parametrize(("bias", "expected"), [(False, {"0"}), (True, {"1"})])
def test_a_depthwise_convolution_carries_the_gate_if_it_has_a_bias(
    bias: bool, expected: set[str]
) -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4, bias=bias), nn.ReLU(), nn.Conv2d(4, 3, 1)
    )
    assert gates(module) == expected


class Halved(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) / 2


class Shifted(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 0.5


def test_a_subclass_has_its_gates_on_its_parameters() -> None:
    module = nn.Sequential(Halved(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    assert gates(module) == {"0.weight@0", "0.bias@0"}


def test_a_subclass_whose_channels_are_never_silent_leaves_the_gate_to_its_reader() -> None:
    module = nn.Sequential(Shifted(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    assert gates(module) == {"2.weight@1"}


@pytest.mark.parametrize(
    "reader", [nn.Conv2d(4, 4, 1, groups=2), nn.ConvTranspose2d(4, 4, 2, groups=2), nn.GELU()]
)
def test_a_subclass_that_nobody_can_silence_is_protected(reader: nn.Module) -> None:
    module = nn.Sequential(Shifted(3, 4, 1), nn.ReLU(), reader)
    assert gates(module) == set()
    reasons = {g.protected for g in find_groups(module, EXAMPLE).groups}
    assert any("is added to it" in r or r == "it is the output" for r in reasons)


def test_a_grouped_transposed_convolution_is_protected() -> None:
    module = nn.Sequential(nn.ConvTranspose2d(3, 6, 2, groups=3), nn.ReLU(), nn.Conv2d(6, 3, 1))
    assert gates(module) == set()


def test_a_block_with_an_activation_after_the_sum_is_no_removable_block() -> None:
    class Block(nn.Module):
        def __init__(self, activation: bool) -> None:
            super().__init__()
            self.branch = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
            self.activation = activation

        def forward(self, x: Tensor) -> Tensor:
            total = x + self.branch(x)
            return total.relu() if self.activation else total

    def blocks(activation: bool) -> list[str]:
        module = nn.Sequential(nn.Conv2d(3, 3, 1), Block(activation), nn.Conv2d(3, 3, 1))
        return [b.module for b in find_groups(module, EXAMPLE).blocks]

    assert blocks(activation=False) == ["1"]
    assert blocks(activation=True) == []
