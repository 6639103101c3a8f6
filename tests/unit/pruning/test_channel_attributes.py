"""Numbers of channels in a user's modules: cut with them where that is what they mean."""

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from tests.property.foreign_numbers import Counted, Counting
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.registry import GeneratorSpec
from gan_slimming.pruning.channel_attributes import noted_numbers
from gan_slimming.pruning.discovery import find_groups
from gan_slimming.serialization.generator_file import load_generator_file, save_generator
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import extract

EXAMPLE = (torch.zeros(1, 3, 8, 8),)


def slim_counted() -> nn.Module:
    student = prepare(Counted().eval(), EXAMPLE, bits=None)
    student.gate_of("first").data[2:] = 0
    student.gate_of("body.0.weight").data[:1] = 0
    return extract(student)


def test_each_number_goes_with_the_axis_that_it_counts() -> None:
    body = slim_counted().get_submodule("body")
    assert [(m.inputs, m.outputs, m.kernel_size) for m in body.children()] == [
        (2, 4, 3), (4, 5, 3)
    ]  # fmt: skip


def test_what_counts_something_else_is_not_touched() -> None:
    class Scaled(Counting):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / self.outputs  # the result depends on it

    module = nn.Sequential(nn.Conv2d(3, 5, 1), Scaled(5, 6), nn.ReLU(), nn.Conv2d(6, 3, 1))
    graph = find_groups(module, EXAMPLE)
    assert [(g.name, g.channels) for g in graph.prunable] == [("0", 5)]
    assert graph.numbers[("1", "inputs")] == ("1.weight", 2, Fraction(1))


class Halves(nn.Module):
    """A gated convolution that remembers how many of its outputs are values, per instance."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.width = outputs
        self.both = nn.Conv2d(inputs, 2 * outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        values, gate = torch.split(self.both(x), self.width, dim=1)
        return values * torch.sigmoid(gate)


def test_a_number_that_counts_half_of_the_channels_goes_with_them() -> None:
    net = nn.Sequential(Halves(3, 6), Halves(6, 4), nn.Conv2d(4, 3, 1)).double().eval()
    student = prepare(net, (torch.zeros(1, 3, 8, 8).double(),), bits=None)
    assert sorted(g.channels for g in student.graph.prunable) == [4, 6]
    assert student.graph.numbers[("0", "width")][2] == Fraction(1, 2)
    for gate in student.gates:
        gate.data[1:3] = 0.0
    small = extract(student)
    assert [small.get_submodule(path).width for path in "01"] == [4, 2]
    image = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    torch.testing.assert_close(small(image), student(image), rtol=0, atol=1e-12)


def test_a_file_holds_them_and_a_second_one_as_well(tmp_path: Path) -> None:
    small, path = slim_counted(), tmp_path / "generator.safetensors"
    spec = GeneratorSpec("tests.property.foreign_numbers:Counted", {})
    assert ("body.0", "inputs", 2) in noted_numbers(small)
    for _ in range(2):
        save_generator(small, path, spec)
        loaded = load_generator_file(path, factory=spec.name)
        assert noted_numbers(loaded) == noted_numbers(small)
        image = torch.rand(1, 3, 8, 8)
        torch.testing.assert_close(loaded(image), small(image))
        small = loaded


def test_a_file_with_greater_numbers_than_the_factory_makes_is_refused(tmp_path: Path) -> None:
    small, path = slim_counted(), tmp_path / "generator.safetensors"
    vars(small.get_submodule("body.1"))["outputs"] = 6
    spec = GeneratorSpec("tests.property.foreign_numbers:Counted", {})
    save_generator(small, path, spec)
    with pytest.raises(UserError, match=r"does not fit.*body\.1\.outputs is 5, the file has 6"):
        load_generator_file(path, factory=spec.name)
