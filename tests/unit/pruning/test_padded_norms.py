"""Norms over channels that a user writes by hand: pruned exactly, whatever their arithmetic."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.registry import GeneratorSpec
from gan_slimming.pruning.padded_norms import KEPT, check_norms, is_padded, padded_norms
from gan_slimming.serialization.generator_file import load_generator_file, save_generator
from gan_slimming.student.student import Student, prepare
from gan_slimming.student.surgery import cut, extract

CHANNELS = 7
EXAMPLE = (torch.zeros(1, 3, 8, 8).double(),)


class PixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


class RmsNorm(nn.Module):
    """The sum over channels, with their number as a float, and a scale of its own."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5)
        self.channels = float(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).sum(1, True) / self.channels + x.mean() ** 2) * self.scale


class Lin(nn.Module):
    """U-GAT-IT's mixture of instance norm and layer norm, with rho for each channel."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.rho = nn.Parameter(torch.rand(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.rand(1, channels, 1, 1) + 0.5)
        self.beta = nn.Parameter(torch.rand(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        out_in = (x - x.mean([2, 3], True)) / (x.var([2, 3], keepdim=True) + 1e-5).sqrt()
        out_ln = (x - x.mean([1, 2, 3], True)) / (x.var([1, 2, 3], keepdim=True) + 1e-5).sqrt()
        rho = self.rho.expand(x.shape[0], -1, -1, -1)
        return (rho * out_in + (1 - rho) * out_ln) * self.gamma + self.beta


class Softmaxed(nn.Module):
    """Competition between channels, in which a zero still counts."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.softmax(x, 1) - x.amax(1, keepdim=True) / x.shape[1]


class Masked(nn.Module):
    """A norm with a second map, of as few channels as may be left of the first."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x * mask.mean(1, keepdim=True) / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()


class Net(nn.Module):
    def __init__(self, norm: Callable[[], nn.Module], *, second: bool = False) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.first, self.norm = nn.Conv2d(3, CHANNELS, 3, padding=1), norm()
        self.last, self.second = nn.Conv2d(CHANNELS, 3, 3, padding=1), second

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.last(F.leaky_relu(self.norm(y, x) if self.second else self.norm(y), 0.2))


NETS: dict[str, Callable[[], nn.Module]] = {
    "pixel": lambda: Net(PixelNorm),
    "rms": lambda: Net(RmsNorm),
    "lin": lambda: Net(Lin),
    "softmax": lambda: Net(Softmaxed),
    "masked": lambda: Net(Masked, second=True),
}


def build(name: str) -> nn.Module:
    """A factory, as a user would name it."""
    return NETS[name]()


@functools.cache
def _prepared(name: str) -> tuple[Student, nn.Module]:
    teacher = build(name).double().eval()
    return prepare(teacher, EXAMPLE, bits=None), teacher


def prepared(name: str) -> tuple[Student, nn.Module]:
    """Return a student of its own, and its teacher."""
    student, teacher = _prepared(name)
    return copy.deepcopy(student), teacher


def image() -> Tensor:
    return torch.rand(2, 3, 8, 12, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("name", NETS)
def test_nothing_changes_while_all_channels_are_left(name: str) -> None:
    student, teacher = prepared(name)
    assert padded_norms(student.module) == {"norm": CHANNELS}
    assert not is_padded(teacher.get_submodule("norm"))
    x = image()
    assert torch.equal(student(x), teacher(x))
    assert torch.equal(extract(student)(x), teacher(x))


@pytest.mark.parametrize("left", [1, 2, 3, 5])
@pytest.mark.parametrize("name", NETS)
def test_what_is_left_computes_what_the_whole_does_with_zeros(name: str, left: int) -> None:
    student, teacher = prepared(name)
    (group,) = student.graph.prunable
    assert group.channels == CHANNELS
    keep = torch.randperm(CHANNELS, generator=torch.Generator().manual_seed(left))[:left]
    alive = torch.zeros(CHANNELS).index_fill(0, keep, 1).bool()
    student.gates[0].data[~alive] = 0.0
    small = extract(student)
    assert small.get_submodule("first").out_channels == left
    assert small.get_submodule("norm").get_buffer(KEPT).tolist() == sorted(keep.tolist())
    silenced = copy.deepcopy(teacher)
    for layer, axis in (("first", 0), ("last", 1)):
        silenced.get_parameter(f"{layer}.weight").data.index_fill_(
            axis, (~alive).nonzero()[:, 0], 0
        )
    silenced.get_parameter("first.bias").data[~alive] = 0.0
    x = image()
    for found in (small, student):
        torch.testing.assert_close(found(x), silenced(x), rtol=0, atol=1e-12)
    slim = copy.deepcopy(student)
    cut(slim, slim.alive())
    torch.testing.assert_close(slim(x), silenced(x), rtol=0, atol=1e-12)


def test_one_norm_under_two_names_is_padded_once() -> None:
    class Twice(Net):
        def __init__(self) -> None:
            super().__init__(Lin)
            self.again = self.norm
            self.body = nn.Conv2d(CHANNELS, CHANNELS, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.again(self.body(F.relu(self.norm(self.first(x))))))

    student = prepare(Twice().double().eval(), EXAMPLE, bits=None)
    assert padded_norms(student.module) == {"norm": CHANNELS, "again": CHANNELS}
    (gate,) = student.gates
    gate.data[[1, 4]] = 0.0
    small, x = extract(student), image()
    assert small.get_parameter("body.weight").shape[:2] == (5, 5)
    torch.testing.assert_close(small(x), student(x), rtol=0, atol=1e-12)


def test_norms_that_hold_layers_or_reshape_are_left_alone() -> None:
    class Moving(nn.Module):
        """Channels go last in it, and stay there."""

        def forward(self, x: Tensor) -> Tensor:
            x = x.permute(0, 2, 3, 1)
            return (x / x.norm(dim=-1, keepdim=True)).permute(0, 3, 1, 2)[:, :, ::2]

    class Layered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Conv2d(CHANNELS, CHANNELS, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.mix(x) / x.mean(1, keepdim=True).abs().clamp_min(1)

    for norm in (Moving, Layered):
        student = prepare(Net(norm).double().eval(), EXAMPLE, bits=None)
        assert padded_norms(student.module) == {}
        small, x = extract(student), image()
        torch.testing.assert_close(small(x), student(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["pixel", "lin"])
def test_a_file_holds_which_channels_are_left(name: str, tmp_path: Path) -> None:
    student, _ = prepared(name)
    student.gates[0].data[[0, 3, 6]] = 0.0
    small = extract(student).float()
    path, x = tmp_path / "generator.safetensors", image().float()
    for _ in range(2):  # and a file of what was loaded
        save_generator(small, path, GeneratorSpec(f"{__name__}:build", {"name": name}))
        loaded = load_generator_file(path, factory=f"{__name__}:build")
        assert loaded.get_submodule("norm").get_buffer(KEPT).tolist() == [1, 2, 4, 5]
        torch.testing.assert_close(loaded(x), small(x))
        small = loaded
    again = extract(prepare(loaded, (x[:1],), bits=None))
    torch.testing.assert_close(again(x), small(x))


@pytest.mark.parametrize("kept", [[0, 1, 7], [-1, 2], [2, 1], [3, 3], []])
def test_channels_that_the_teacher_has_not_are_refused(kept: list[int]) -> None:
    student, _ = prepared("pixel")
    student.module.get_submodule("norm")._buffers[KEPT] = torch.tensor(kept, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"norm.kept_channels are not channels of 7"):
        check_norms(student.module)


def test_a_file_with_absurd_channels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_slimming.serialization import generator_file

    student, _ = prepared("pixel")
    small, path = extract(student).float(), tmp_path / "generator.safetensors"
    monkeypatch.setattr(generator_file, "padded_norms", lambda _: {"norm": 1 << 40})
    save_generator(small, path, GeneratorSpec(f"{__name__}:build", {"name": "pixel"}))
    with pytest.raises(UserError, match="does not fit"):
        load_generator_file(path, factory=f"{__name__}:build")
