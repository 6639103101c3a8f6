"""Which optimiser takes which of the student's numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_slimming.config import Optimisation
from gan_slimming.models import CartoonGenerator
from gan_slimming.models.dcgan import DcganGenerator
from gan_slimming.student.student import Student, prepare
from gan_slimming.training.muon import Muon
from gan_slimming.training.optimizers import weight_optimizers


def students() -> list[Student]:
    image = prepare(CartoonGenerator(width=4, blocks=1).eval(), (torch.zeros(1, 3, 16, 16),))
    noise = prepare(DcganGenerator(width=2, latent=5).eval(), (torch.zeros(1, 5),))
    return [image, noise]


@pytest.mark.parametrize("student", students())
def test_every_weight_has_one_optimizer(student: Student) -> None:
    made = weight_optimizers(student, Optimisation(optimizer="muon", muon_lr=0.03), lr=5e-4)
    ids = [id(p) for o in made for group in o.param_groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in student.weights())
    muon, adam = made
    assert isinstance(muon, Muon)
    assert isinstance(adam, torch.optim.Adam)
    assert {group["lr"] for group in muon.param_groups} == {0.03}
    assert {group["lr"] for group in adam.param_groups} == {5e-4}


def test_adam_alone_takes_all() -> None:
    student = students()[0]
    (adam,) = weight_optimizers(student, Optimisation(optimizer="adam"), lr=1e-3)
    assert isinstance(adam, torch.optim.Adam)
    assert len(adam.param_groups[0]["params"]) == len(student.weights())


def test_a_generator_without_inner_kernels_trains_by_adam_alone() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
    student = prepare(plain.eval(), (torch.zeros(1, 3, 16, 16),))
    made = weight_optimizers(student, Optimisation(optimizer="muon"), lr=1e-3)
    assert [type(optimizer) for optimizer in made] == [torch.optim.Adam]
