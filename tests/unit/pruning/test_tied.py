"""Layers that are split by the same numbers lose the same channels."""

import torch
from tests.property.test_extraction import EXACT, randomise
from tests.property.test_foreign_nets import damaged
from torch import Tensor, nn

from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract


class Distilling(nn.Module):
    """Each layer hands a part of its channels to the end, and the others to the next layer."""

    def __init__(self, width: int, kept: int) -> None:
        super().__init__()
        self.kept, self.passed = kept, width - kept
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(self.passed, width, 3, padding=1)
        self.three = nn.Conv2d(self.passed, kept, 3, padding=1)
        self.fuse = nn.Conv2d(3 * kept, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, rest = torch.split(torch.relu(self.one(x)), [self.kept, self.passed], dim=1)
        second, rest = torch.split(torch.relu(self.two(rest)), [self.kept, self.passed], dim=1)
        return x + self.fuse(torch.cat([first, second, self.three(rest)], 1))


def test_parts_that_the_same_numbers_split_are_cut_together_and_exactly() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), Distilling(12, 4), Distilling(12, 4), nn.Conv2d(12, 3, 1)
    )
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    teacher = randomise(net.double().eval(), torch.Generator().manual_seed(1))
    student = prepare(teacher, (image,), bits=None)
    assert sorted(g.channels for g in student.graph.prunable) == [4, 4, 8, 8, 12]
    student = damaged(student, 2, 0.4)
    small = extract(student)
    with torch.no_grad():
        assert float((small(image) - student(image)).abs().max()) < EXACT
    for path in "12":
        block = small.get_submodule(path)
        assert block.kept == block.get_submodule("three").weight.shape[0] < 4  # pyright: ignore
        assert block.passed == block.get_submodule("two").weight.shape[1] < 8  # pyright: ignore
