"""Hidden layers: the student's channels against the teacher's own, whatever has been cut."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.losses.feature_distillation import (
    POSITIONS,
    FeatureDistillation,
    at_positions,
    feature_distance,
)
from gan_slimming.models.registry import build_generator
from gan_slimming.student.student import Student, prepare
from gan_slimming.student.surgery import cut, set_gates

SIDE = 32
IMAGES = torch.rand(2, 3, SIDE, SIDE, dtype=torch.float64) * 2 - 1
KEYS = [5, 8]


def pair(name: str = "cyclegan") -> tuple[nn.Module, Student, FeatureDistillation]:
    arguments = {"width": 4} if name == "fast-style" else {"width": 4, "blocks": 2}
    teacher = build_generator(name, **arguments).eval().double()
    for parameter in teacher.parameters():
        nn.init.normal_(parameter, 0.1, 0.5)
    example = (torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64),)
    student = prepare(teacher, example, bits=None)
    return teacher, student, FeatureDistillation(student, teacher, 1.0)


def inside(
    teacher: nn.Module, student: Student, term: FeatureDistillation
) -> tuple[list[Tensor], ...]:
    """What both give inside: the student's, the teacher's."""
    with torch.no_grad():
        _, expected = term.of_teacher(student, lambda: teacher(IMAGES), KEYS)
    _, seen = term.of_student(student, lambda: student(IMAGES), KEYS)
    return seen, expected


def halved(student: Student) -> dict[str, Tensor]:
    """Every second channel of every group."""
    return {g.name: torch.arange(g.channels) % 2 == 1 for g in student.graph.prunable}


@pytest.mark.parametrize("name", ["cyclegan", "cartoongan", "fast-style"])
def test_it_is_zero_for_a_student_that_is_its_teacher(name: str) -> None:
    teacher, student, term = pair(name)
    set_gates(student, {g.name: torch.rand(g.channels) + 0.5 for g in student.graph.prunable})
    seen, expected = inside(teacher, student, term)
    assert len(seen) > len(student.graph.prunable)
    assert float(feature_distance(seen, expected).detach()) < 1e-10


def test_kept_channels_meet_their_own_after_cuts() -> None:
    """The first layer reads what it read, so it still agrees; a neighbour would not."""
    teacher, student, term = pair()
    keep = halved(student)
    cut(student, keep)
    cut(student, {name: torch.arange(int(mask.sum())) > 0 for name, mask in keep.items()})
    seen, expected = inside(teacher, student, term)
    assert seen[0].shape == expected[0].shape == (2, 1, POSITIONS)
    torch.testing.assert_close(seen[0], expected[0])
    normal = teacher.get_submodule("model.2")
    made: list[Tensor] = []
    normal.register_forward_hook(lambda *told: made.append(told[2]))
    teacher(IMAGES)
    torch.testing.assert_close(expected[0], at_positions(made[0][:, 3:], 1, KEYS))
    assert (
        float(feature_distance(seen[:1], [at_positions(made[0][:, 2:3], 1, KEYS)]).detach()) > 0.1
    )


def test_blocks_are_compared_behind_their_sum() -> None:
    teacher, student, term = pair()
    made: list[Tensor] = []
    teacher.get_submodule("model.11").register_forward_hook(lambda *told: made.append(told[2]))
    _, expected = inside(teacher, student, term)
    sums = at_positions(made[0], 1, KEYS)
    assert any(values.shape == sums.shape and torch.equal(values, sums) for values in expected)


def test_the_students_weights_learn_and_the_teacher_does_not() -> None:
    teacher, student, term = pair()
    cut(student, halved(student))
    loss = feature_distance(*inside(teacher, student, term))
    loss.backward()
    assert float(loss.detach()) > 0
    weights = [p.grad for n, p in student.module.named_parameters() if n.endswith("weight")]
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in weights) >= len(weights) - 1
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_nothing_is_watched_any_more_afterwards() -> None:
    teacher, student, term = pair()
    inside(teacher, student, term)
    assert not any(m._forward_hooks for net in (teacher, student) for m in net.modules())


def test_a_mean_for_every_channel_is_one_off() -> None:
    values = torch.randn(2, 3, 64)
    flat = torch.full_like(values, float(values.mean()))
    assert float(feature_distance([flat], [values])) == pytest.approx(1.0, abs=1e-5)
    assert float(feature_distance([values], [values])) == 0.0


def test_windows_that_stand_in_the_batch_belong_to_their_image() -> None:
    values = torch.arange(2 * 3 * 20 * 20.0).view(2, 3, 20, 20)
    windows = values.view(2, 3, 4, 100).transpose(1, 2).flatten(0, 1)
    assert torch.equal(at_positions(windows, 1, [4, 7]), at_positions(values, 1, [4, 7]))


def test_places_depend_on_the_image_alone() -> None:
    values = torch.arange(2 * 3 * 20 * 20.0).view(2, 3, 20, 20)
    together = at_positions(values, 1, [4, 7])
    assert together.shape == (2, 3, POSITIONS)
    assert torch.equal(together[1:], at_positions(values[1:], 1, [7]))
    assert not torch.equal(at_positions(values[1:], 1, [4]), together[1:])
    assert torch.equal(together[0, 1] - together[0, 0], torch.full((POSITIONS,), 400.0))
    last = values.movedim(1, -1)
    assert torch.equal(at_positions(last, -1, [4, 7]), together)
    assert torch.equal(at_positions(values[..., :3, :3], 1, [1, 2]), values[..., :3, :3].flatten(2))


def test_its_weight_falls_to_the_share_of_work_that_is_left() -> None:
    teacher, student, _ = pair()
    term = FeatureDistillation(student, teacher, 3.0)
    small = [term.weight_at(recovered, 0.1) for recovered in (0.0, 0.25, 0.4, 0.45, 0.5, 1.0)]
    assert small == pytest.approx([3.0, 1.5, 0.6, 0.3, 0.3, 0.3])
    assert [term.weight_at(recovered, 1.0) for recovered in (0.0, 0.3, 1.0)] == [3.0] * 3


def test_without_the_teacher_itself_it_weighs_nothing() -> None:
    teacher, student, _ = pair()
    assert FeatureDistillation(student, None, 3.0).weight == 0.0
    assert FeatureDistillation(student, teacher, 3.0).weight == 3.0
