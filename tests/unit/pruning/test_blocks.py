"""Residual blocks are found exactly where the module without its branches is the identity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.pruning.discovery import find_groups
from gan_slimming.pruning.groups import ResidualBlock
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract, remove_empty_blocks

EXAMPLE = (torch.zeros(1, 3, 8, 8),)
WIDTH = 4


def blocks_of(block: nn.Module) -> list[ResidualBlock]:
    net = nn.Sequential(nn.Conv2d(3, WIDTH, 1), block, nn.Conv2d(WIDTH, 3, 1))
    return find_groups(net, EXAMPLE).blocks


class Block(nn.Module):
    """A block of one branch; what it does with x and the branch is its subclass's."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(WIDTH, 6, 1), nn.ReLU(), nn.Conv2d(6, WIDTH, 1))
        self.scale = nn.Parameter(torch.full((1, WIDTH, 1, 1), 0.3))


class Constant(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) * 0.2 + x


class Divided(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) / 5


class Learnt(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) * self.scale


class Alpha(Block):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.branch(x), alpha=0.2)  # pyright: ignore[reportCallIssue]


class Minus(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x.clone() - self.branch(x)


class DropPath(Block):
    def forward(self, x: Tensor) -> Tensor:
        branch = self.branch(x)
        if self.training:
            branch = branch * torch.empty(len(x), 1, 1, 1).bernoulli_(0.9)
        return x + branch


class InPlace(Block):
    def forward(self, x: Tensor) -> Tensor:
        branch = self.branch(x)
        branch += x
        return branch


class Gated(Block):
    """The branch times a sigmoid, as squeeze and excitation ends."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(WIDTH, 2, 1)
        self.excite = nn.Conv2d(2, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.branch(x)
        mean = branch.mean((2, 3), keepdim=True)
        return x + branch * self.excite(self.squeeze(mean).relu()).sigmoid()


ONE = [Constant, Divided, Learnt, Alpha, Minus, DropPath, InPlace, Gated]


@pytest.mark.parametrize("kind", ONE)
def test_a_scaled_branch_can_go(kind: type[Block]) -> None:
    (block,) = blocks_of(kind())
    assert (block.module, block.gated) == ("1", "1.branch.2")
    assert block.inner == ["1.branch.0"]


@pytest.mark.parametrize("kind", ONE)
def test_a_student_with_a_silent_branch_has_the_identity(kind: type[Block]) -> None:
    torch.manual_seed(0)
    block = kind()
    block.branch.append(nn.BatchNorm2d(WIDTH))  # its gates are the branch's own
    net = nn.Sequential(nn.Conv2d(3, WIDTH, 1), block, nn.Conv2d(WIDTH, 3, 1)).double().eval()
    student = prepare(net, (EXAMPLE[0].double(),), bits=None)
    silent = [g for g in student.graph.prunable if "1.branch.3.gate" in {m.tensor for m in g.gated}]
    for group, gate in zip(student.graph.prunable, student.gates, strict=True):
        if group in silent and group.name.startswith("1."):
            gate.data.zero_()
    image = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    small = extract(student)
    assert torch.allclose(small(image), student(image), rtol=0, atol=1e-10)


class Scaled(Block):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x + self.branch(x)


class Root(Block):
    def forward(self, x: Tensor) -> Tensor:
        return (x + self.branch(x)) / 2**0.5


class AlphaOfInput(Block):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.branch(x), x, alpha=0.5)  # pyright: ignore[reportCallIssue]


class Negative(Block):
    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) - x


class Mixed(Block):
    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.branch(x), 0.2)


class Activated(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu() + self.branch(x)


class Shifted(Block):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale


class Twice(Block):
    def forward(self, x: Tensor) -> Tensor:
        branch = self.branch(x)
        return torch.cat([x + branch, branch], 1)[:, :WIDTH]


@pytest.mark.parametrize(
    "kind", [Scaled, Root, AlphaOfInput, Negative, Mixed, Activated, Shifted, Twice]
)
def test_what_is_left_without_the_branch_is_not_the_identity(kind: type[Block]) -> None:
    assert blocks_of(kind()) == []


class TwoBranches(nn.Module):
    """Two scaled branches, one behind the other, as in a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(WIDTH, WIDTH, 1) for _ in range(2))
        self.beta = nn.Parameter(torch.full((1, WIDTH, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        middle = x + self.one(x) * self.beta
        return middle + self.beta * self.two(middle)


def test_two_branches_go_together() -> None:
    assert blocks_of(TwoBranches()) == [ResidualBlock("1", "", [])]


class Nested(nn.Module):
    """Blocks inside a block, as in ESRGAN."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Constant(), Constant())

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.inner(x)


def test_a_block_of_blocks_has_no_layer_that_silences_it() -> None:
    found = {block.module: block.gated for block in blocks_of(Nested())}
    inner = {f"1.inner.{i}": f"1.inner.{i}.branch.2" for i in range(2)}
    assert found == {**inner, "1": ""}


class Dense(nn.Module):
    """A dense block, whose second layer reads x as well as the first."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(WIDTH, 5, 1), nn.Conv2d(WIDTH + 5, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.2 * self.two(torch.cat([x, self.one(x).relu()], 1))


@pytest.mark.parametrize(
    ("kind", "empty"), [(Dense, "1.one"), (Gated, "1.squeeze")], ids=["dense", "gated"]
)
def test_a_branch_that_goes_round_an_empty_layer_stays(kind: type[nn.Module], empty: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, WIDTH, 1), kind(), nn.Conv2d(WIDTH, 3, 1))
    student = prepare(net, EXAMPLE, bits=None)
    names = [group.name for group in student.graph.prunable]
    student.gates[names.index(empty)].data.zero_()
    assert remove_empty_blocks(student) == []
