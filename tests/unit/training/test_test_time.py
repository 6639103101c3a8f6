"""What a teacher's images depend on besides their input: said where it is in doubt, in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.config import Budget, InputContract, Objective, Optimisation, Run
from gan_slimming.errors import UserError
from gan_slimming.models import load_generator
from gan_slimming.student.surgery import extract
from gan_slimming.training.setup import TestTimeWarning, set_up
from gan_slimming.training.test_time import describe_test_time, describe_vanishing, draws_noise

CONTRACT = InputContract()


class Noisy(nn.Module):
    """Noise drawn inside, as much as is asked for."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.conv, self.spread = nn.Conv2d(3, 3, 1), spread

    def forward(self, images: Tensor) -> Tensor:
        made = self.conv(images)
        return made + self.spread * torch.randn_like(made)


class Batched(nn.Module):
    """An image less the mean over its batch."""

    def forward(self, images: Tensor) -> Tensor:
        return images - images.mean(0, keepdim=True) / 2


def normed(*, trained: bool, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(3)
    norm = nn.BatchNorm2d(4)
    if trained:
        norm(torch.randn(8, 4, 8, 8) * 2 + 1)
    layers = [nn.Conv2d(3, 4, 3, padding=1), norm, nn.Dropout(dropout), nn.Conv2d(4, 3, 1)]
    return nn.Sequential(*layers).eval()


def described(teacher: nn.Module, contract: InputContract = CONTRACT) -> str:
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    modes = [module.training for module in teacher.modules()]
    random = torch.get_rng_state()
    line = describe_test_time(teacher, contract, 16)
    assert "\n" not in line
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert [module.training for module in teacher.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    return line


@pytest.mark.parametrize("name", ["cartoongan", "cyclegan"])
def test_nothing_is_said_of_ordinary_generators(name: str) -> None:
    assert described(load_generator(name, width=4, blocks=2).eval()) == ""


def test_trained_batch_norms_are_ordinary_and_untrained_ones_are_not() -> None:
    assert described(normed(trained=True)) == ""
    line = described(normed(trained=False))
    assert "statistics that its batch norms never updated" in line
    assert "--teacher-mode train" in line


def test_a_batch_norm_whose_statistics_do_not_matter_is_not_mentioned() -> None:
    teacher = normed(trained=False)
    nn.init.zeros_(teacher.get_parameter("3.weight"))
    assert described(teacher) == ""


def test_dropout_is_mentioned_where_it_drops_anything() -> None:
    line = described(normed(trained=True, dropout=0.5))
    assert "dropout, which is off here" in line
    assert "--teacher-mode" not in line  # it would not turn dropout on


def test_noise_and_batches_are_told_apart() -> None:
    assert draws_noise(Noisy(0.3), CONTRACT, 16)
    assert not draws_noise(Noisy(0.0), CONTRACT, 16)
    assert "noise drawn inside" in described(Noisy(0.3))
    assert described(Noisy(0.0)) == ""
    assert "the other images of the batch" in described(Batched())


RUN = Run(
    budget=Budget(macs=0.6),
    objective=Objective(distill="l1"),
    optimisation=Optimisation(steps=2, batch_size=1),
    size=32,
    device="cpu",
    bits=None,
)


def test_the_advice_for_untrained_statistics_ends_the_doubt() -> None:
    teacher = normed(trained=False)
    with pytest.warns(TestTimeWarning, match="never updated"):
        set_up(teacher, RUN)
    setup = set_up(teacher, replace(RUN, teacher_mode="train"))
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(setup.teacher.generator(image), teacher.train()(image))
    torch.testing.assert_close(setup.student(image), setup.teacher.generator(image))
    assert setup.contract.statistics == "image"


def test_the_advice_for_noise_ends_the_doubt() -> None:
    teacher = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 3, 1), Noisy(0.3))
    with pytest.warns(TestTimeWarning, match="--fix-noise"):
        assert set_up(teacher, RUN).noisy
    setup = set_up(teacher, replace(RUN, fix_noise=True))
    assert not setup.noisy
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    first, second = setup.teacher(image), setup.teacher(image)
    assert torch.equal(first, second)
    torch.testing.assert_close(setup.student(image), setup.teacher.generator(image))


class Dropping(nn.Module):
    """Dropout as a function, whose default is training=True."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.last, self.how = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1), how

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.first(images))
        if self.how == "default":
            return self.last(F.dropout(x, 0.5))
        if self.how == "whole channels":
            return self.last(F.dropout2d(x, p=0.5, training=True))
        return self.last(F.dropout(x, 0.5, self.training))


@pytest.mark.parametrize("how", ["default", "whole channels"])
def test_dropout_in_the_forward_is_named_and_left_out(how: str) -> None:
    teacher = Dropping(how).eval()
    assert "--dropout keep" in described(teacher)
    with pytest.warns(TestTimeWarning, match="dropout with training=True in its forward"):
        setup = set_up(teacher, RUN)
    assert setup.contract.dropout == "off"
    assert not setup.noisy
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    whole = teacher.last(torch.relu(teacher.first(image)))
    torch.testing.assert_close(setup.teacher.generator(image), whole)
    torch.testing.assert_close(setup.student(image), whole)
    small = extract(setup.student)
    assert torch.equal(small(image), small(image))
    with pytest.warns(TestTimeWarning, match="dropout with training=True in its forward"):
        kept = set_up(teacher, replace(RUN, dropout="keep"))
    assert kept.noisy
    assert kept.contract.dropout == ""


def test_dropout_that_follows_the_mode_is_not_mentioned() -> None:
    assert described(Dropping("mode").eval()) == ""


def test_a_teacher_whose_values_vanish_is_refused_with_the_cause() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 4, 3, padding=1)]
    for _ in range(12):
        layers += [nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()]
    teacher = nn.Sequential(*layers, nn.Conv2d(4, 3, 1)).eval()
    for name, weight in teacher.named_parameters():
        if name.endswith("weight") and weight.dim() == 4:
            nn.init.normal_(weight, 0.0, 0.02)
    with pytest.raises(UserError, match=r"layer \d+ gives at most .*e-.*--teacher-mode train"):
        set_up(teacher, RUN)
    set_up(teacher, replace(RUN, teacher_mode="train"))  # the advice


@pytest.mark.parametrize("weight", [0.0, 1e-12])
def test_a_branch_that_died_or_has_not_begun_is_none_of_a_vanishing_teacher(weight: float) -> None:
    layers = (nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1))
    teacher = nn.Sequential(*layers)
    if weight:
        teacher(torch.rand(2, 3, 8, 8))  # its norm is a trained one
    for parameter in layers[2].parameters():
        nn.init.constant_(parameter, weight)
    assert describe_vanishing(teacher.eval(), CONTRACT, 16) == ""
