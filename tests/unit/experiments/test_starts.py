"""Stages that do not train: what they make is small, quantised, or cut as they say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_slimming.config import Budget, Run
from gan_slimming.data.latents import TRAIN, LatentSet
from gan_slimming.experiments.cec import Evolution
from gan_slimming.experiments.methods import Narrow
from gan_slimming.experiments.starts import evolved, fresh, narrow, quantize, save_start
from gan_slimming.losses.perceptual import multiscale_l1
from gan_slimming.metrics.complexity import count
from gan_slimming.models import build_generator
from gan_slimming.pruning.groups import macs_left
from gan_slimming.serialization.generator_file import load_generator_file
from gan_slimming.training.setup import set_up

RUN = Run(bits=None, size=32, device="cpu", precision="32-true", threads=1)
EXAMPLE = torch.zeros(1, 3, 32, 32)


@pytest.fixture
def teacher() -> torch.nn.Module:
    return build_generator("cyclegan", width=8, blocks=2).eval()


class Images:
    """Random images as a set of inputs."""

    def __init__(self, length: int):
        self.pixels = torch.rand(length, 3, 32, 32) * 2 - 1

    def __len__(self) -> int:
        return len(self.pixels)

    def augmentations(self, *_: object) -> int:
        return 1

    def batch(self, indices: Tensor, *_: object) -> tuple[Tensor, ...]:
        return (self.pixels[indices],)


@pytest.mark.parametrize("kind", ["macs", "parameters"])
def test_a_narrow_net_keeps_the_budget_and_is_uniform(
    teacher: torch.nn.Module, kind: str, tmp_path: Path
) -> None:
    run = dataclasses.replace(RUN, budget=Budget(**{kind: 0.3}))
    setup = set_up(fresh(teacher, 0), run)
    student = narrow(setup, Narrow())
    small = save_start(setup, student, tmp_path / "narrow.safetensors", teacher)
    cost, whole = count(small, (EXAMPLE,)), count(teacher, (EXAMPLE,))
    assert 0.15 * getattr(whole, kind) < getattr(cost, kind) <= 0.3 * getattr(whole, kind)
    groups = set_up(teacher, RUN).student.graph.prunable
    shares = [len(student.kept[group.name]) / group.channels for group in groups]
    assert max(shares) - min(shares) < 1 / 8  # a whole channel of the narrowest
    again = load_generator_file(tmp_path / "narrow.safetensors")
    assert torch.allclose(again(EXAMPLE), small(EXAMPLE), atol=1e-5)


def test_half_of_the_channels_are_a_quarter_of_the_work(teacher: torch.nn.Module) -> None:
    student = narrow(set_up(fresh(teacher, 0), RUN), Narrow(channels=0.5))
    halves = {g.name: g.channels for g in student.graph.prunable}
    whole = {g.name: g.channels for g in set_up(teacher, RUN).student.graph.prunable}
    assert halves == {name: -(-channels // 2) for name, channels in whole.items()}


def test_fresh_weights_follow_the_seed_and_are_not_the_teachers(teacher: torch.nn.Module) -> None:
    one, same, other = (fresh(teacher, seed).state_dict() for seed in (5, 5, 6))
    name = next(name for name, tensor in one.items() if tensor.dim() == 4)
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])
    assert not torch.equal(one[name], teacher.state_dict()[name])


@torch.no_grad()
def test_quantisation_without_training_stays_near_the_teacher(
    teacher: torch.nn.Module, tmp_path: Path
) -> None:
    setup = set_up(teacher, dataclasses.replace(RUN, bits=8))
    student = quantize(setup, Images(4))  # pyright: ignore[reportArgumentType]
    made = save_start(setup, student, tmp_path / "q.safetensors", teacher)
    x = Images(2).pixels
    error = (made(x) - teacher(x)).abs().mean()
    assert 0 < error < 0.05
    assert (tmp_path / "q.safetensors").stat().st_size < 0.4 * 4 * count(teacher, (x,)).parameters


def test_evolution_keeps_the_budget_of_a_generator_of_noise() -> None:
    teacher = build_generator("dcgan", width=4).eval()
    for module in teacher.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.num_batches_tracked = torch.tensor(1)
            module.running_var = torch.full_like(module.running_var, 0.5)  # pyright: ignore
    setup = set_up(teacher, dataclasses.replace(RUN, budget=Budget(macs=0.5)))
    latents = LatentSet(8, setup.contract.latent_size, stream=TRAIN)
    settings = Evolution(population=3, generations=1, images=2)
    student = evolved(setup, latents, settings, multiscale_l1)
    small = sum(p.numel() for p in student.module.parameters())
    assert small < sum(p.numel() for p in teacher.parameters())
    assert macs_left(student.graph, {}) <= 0.5 * setup.dense.macs
