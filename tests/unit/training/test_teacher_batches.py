"""Batches with the teacher's answers: the right ones, without gradient, of one size at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config import InputContract, Optimisation, Run
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.folder import ImageSet
from gan_slimming.losses.feature_distillation import FeatureDistillation
from gan_slimming.losses.perceptual import multiscale_l1
from gan_slimming.student.student import Student, prepare
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.schedule import Schedule
from gan_slimming.training.teacher_batches import TeacherBatch, TeacherBatches, draws_by_size


class Halves(nn.Sequential):
    """A teacher with one prunable group, which counts the images that it is shown."""

    def __init__(self) -> None:
        layers = (nn.Conv2d(3, 4, 1), nn.InstanceNorm2d(4, affine=True), nn.Conv2d(4, 3, 1))
        super().__init__(*layers)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            assert not torch.is_grad_enabled()
            self.shapes.append(tuple(x.shape))
        return super().forward(x)


class WithMany(ImageSet):
    """A set of a thousand images, of which none is read."""

    def __init__(self) -> None:
        paths = tuple(Path(str(i)) for i in range(1000))
        super().__init__(torch.empty(0), torch.arange(1000), paths)


@pytest.fixture
def teacher() -> Halves:
    return Halves().eval()


@pytest.fixture
def student(teacher: Halves) -> Student:
    with torch.no_grad():
        return prepare(teacher, (torch.zeros(1, 3, 8, 8),), bits=None)


@pytest.fixture
def batches(teacher: Halves, student: Student) -> TeacherBatches:
    pixels = torch.randint(0, 256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    paths = tuple(Path(str(i)) for i in range(3))
    images = ImageSet(pixels.to(torch.uint8), torch.arange(3), paths)
    adapter = GeneratorAdapter(teacher, InputContract())
    context = TrainingContext(adapter, images, None, multiscale_l1, lambda _: {}, 8)
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    features = FeatureDistillation(student, teacher, 1.0)
    teacher.shapes.clear()
    run = Run(optimisation=Optimisation(batch_size=2, draws_per_answer=10**6))
    schedule = Schedule(run.optimisation, slims=True, halves=True)
    return TeacherBatches(fabric, context, features, run, schedule)


def draw(
    batches: TeacherBatches, student: Student, downscale: int, *, compare: bool = False
) -> TeacherBatch:
    """Draw as in the first or in the last step of the run."""
    batches.schedule.step = 0 if downscale == 2 else batches.schedule.steps - 1
    return batches.next(student, compare=compare)


def mirror(batches: TeacherBatches) -> None:
    """Let each image be drawn in two ways at full size."""
    batches.run = Run(optimisation=Optimisation(batch_size=2, draws_per_answer=1))
    assert batches.augmentations == 2


@torch.no_grad()
def test_images_are_the_teachers_answers_to_the_inputs(
    batches: TeacherBatches, teacher: Halves, student: Student
) -> None:
    batches.schedule.step = batches.schedule.steps - 1
    mirror(batches)
    for compare in (False, True):
        batches.cache.clear()
        for _ in range(4):
            batch = draw(batches, student, 1, compare=compare)
            expected = torch.cat([teacher(x[None]) for x in batch.inputs[0]])
            torch.testing.assert_close(batch.images, expected, rtol=0, atol=2e-3)
            assert len(batch.features) == (1 if compare else 0)
            assert not any(x.requires_grad for x in (batch.images, *batch.features))


def test_each_input_is_shown_once_and_alone(
    batches: TeacherBatches, teacher: Halves, student: Student
) -> None:
    for _ in range(3):
        draw(batches, student, 1)
    assert teacher.shapes == [(1, 3, 8, 8)] * 3


def test_answers_of_another_size_make_room(
    batches: TeacherBatches, teacher: Halves, student: Student
) -> None:
    """Kept, those of half the size would leave none, and the large ones would be made each time."""
    for downscale in (2, 1):
        for _ in range(3):
            draw(batches, student, downscale)
    assert len(teacher.shapes) == 6
    assert batches.cache.bytes == 3 * (3 * 8 * 8) * 2


def test_seeds_follow_the_input_and_not_the_batch(
    batches: TeacherBatches, student: Student
) -> None:
    seeds: dict[bytes, set[int]] = {}
    batches.schedule.step = batches.schedule.steps - 1
    mirror(batches)
    for _ in range(40):
        batch = draw(batches, student, 1, compare=True)
        for image, seed in zip(batch.inputs[0], batch.seeds, strict=True):
            seeds.setdefault(image.numpy().tobytes(), set()).add(seed)
    assert len(seeds) == 6
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == 6


def test_each_size_has_an_order_of_its_own(batches: TeacherBatches, student: Student) -> None:
    def drawn(downscale: int) -> list[int]:
        return draw(batches, student, downscale).indices

    half = [index for _ in range(9) for index in drawn(2)]
    state = batches.sampler.state_dict()
    full = [index for _ in range(9) for index in drawn(1)]
    assert sorted(half) == sorted(full) == sorted([0, 1, 2] * 6)
    assert half != full
    batches.sampler.load_state_dict(state)  # as a resumed run would
    assert [index for _ in range(9) for index in drawn(1)] == full
    kept = batches.sampler.state_dict()
    following = drawn(1)
    batches.sampler.load_state_dict(kept)
    assert drawn(1) == following


def test_draws_are_split_by_the_share_of_half_size() -> None:
    settings = Optimisation(steps=100, batch_size=2, half_size_share=0.75)
    assert draws_by_size(settings, 100, halves=True) == {2: 150, 1: 50}
    assert draws_by_size(settings, 100, halves=False) == {1: 200}
    assert draws_by_size(settings, 0, halves=True) == {2: 0, 1: 0}  # by the clock, at the start
    old = Optimisation(steps=100, batch_size=2, half_size_share=0.75, draws_per_answer=None)
    assert draws_by_size(old, 100, halves=True) == {2: 200, 1: 200}


def test_a_run_by_the_clock_takes_more_inputs_once_its_steps_are_known(
    batches: TeacherBatches, student: Student
) -> None:
    batches.context.inputs = WithMany()
    batches.schedule.steps = 0
    batches.run = Run(optimisation=Optimisation(batch_size=2, draws_per_answer=8))
    batches.sampler = batches._sampler(2)
    assert batches.sampler.distinct == 100
    batches.schedule.steps = 1600
    batches.plan()
    assert batches.sampler.distinct == 380  # 95 % of the draws, each answer 8 times
