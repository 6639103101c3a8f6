"""Hidden layers: the student's channels against the teacher's own, whatever has been cut."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.hidden import FROM, WEIGHT, HiddenLayers, HiddenTerm, hidden_distance, watched
from gan_slimming.models.registry import build_generator
from gan_slimming.student import Student, prepare
from gan_slimming.surgery import cut, set_gates

SIDE = 32


def pair(name: str = "cyclegan") -> tuple[nn.Module, Student]:
    arguments = {"width": 4} if name == "fast-style" else {"width": 4, "blocks": 2}
    teacher = build_generator(name, **arguments).eval().double()
    for parameter in teacher.parameters():
        nn.init.normal_(parameter, 0.1, 0.5)
    example = (torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64),)
    return teacher, prepare(teacher, example, bits=None)


def distance(teacher: nn.Module, student: Student, layers: HiddenLayers) -> Tensor:
    found = layers.of(student)
    with watched(teacher, found) as expected, torch.no_grad():
        teacher(PICTURES)
    with watched(student.module, found) as seen:
        student(PICTURES)
    return hidden_distance(seen, expected, found)


def halved(student: Student) -> dict[str, Tensor]:
    """Every second channel of every group."""
    return {g.name: torch.arange(g.channels) % 2 == 1 for g in student.graph.prunable}


PICTURES = torch.rand(2, 3, SIDE, SIDE, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("name", ["cyclegan", "cartoongan", "fast-style"])
def test_it_is_zero_for_a_student_that_is_its_teacher(name: str) -> None:
    teacher, student = pair(name)
    layers = HiddenLayers(student)
    set_gates(student, {g.name: torch.rand(g.channels) + 0.5 for g in student.graph.prunable})
    assert len(layers.of(student)) > len(student.graph.prunable)
    assert float(distance(teacher, student, layers).detach()) < 1e-10


def test_kept_channels_meet_their_own_after_cuts() -> None:
    """Nothing above the cut has changed, so the first layer still agrees; a neighbour would not."""
    teacher, student = pair()
    layers = HiddenLayers(student)
    keep = halved(student)
    cut(student, keep)
    cut(student, {name: torch.arange(int(mask.sum())) > 0 for name, mask in keep.items()})
    first, *_ = [layer for layer in layers.of(student) if layer.path == "model.2"]
    assert first.channels.tolist() == [3]
    with watched(teacher, [first]) as expected, watched(student.module, [first]) as seen:
        teacher(PICTURES)
        student(PICTURES)
    assert float(hidden_distance(seen, expected, [first]).detach()) < 1e-10
    wrong = type(first)(first.path, first.axis, first.channels - 1)
    assert float(hidden_distance(seen, expected, [wrong]).detach()) > 0.1


def test_blocks_are_compared_behind_their_sum() -> None:
    _, student = pair()
    assert {"model.10", "model.11"} <= {layer.path for layer in HiddenLayers(student).of(student)}


def test_the_students_weights_learn_and_the_teacher_does_not() -> None:
    teacher, student = pair()
    layers = HiddenLayers(student)
    cut(student, halved(student))
    loss = distance(teacher, student, layers)
    loss.backward()
    assert float(loss.detach()) > 0
    weights = [p.grad for n, p in student.module.named_parameters() if n.endswith("weight")]
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in weights) >= len(weights) - 1
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_nothing_is_watched_any_more_afterwards() -> None:
    teacher, student = pair()
    distance(teacher, student, HiddenLayers(student))
    assert not any(m._forward_hooks for net in (teacher, student) for m in net.modules())


def test_a_mean_for_every_channel_is_one_off() -> None:
    _, student = pair()
    layer = HiddenLayers(student).of(student)[0]
    values = torch.randn(2, len(layer.channels), 8, 8)
    flat = torch.full_like(values, float(values.mean()))
    apart = hidden_distance({layer.path: [flat]}, {layer.path: [values]}, [layer])
    assert float(apart) == pytest.approx(1.0, abs=1e-5)


def test_its_weight_follows_the_share_of_work_unless_it_is_asked_for() -> None:
    teacher, student = pair()
    given = [HiddenTerm(student, teacher, weight) for weight in (None, 0.5, 0.0)]
    assert [term.weight(student) for term in given] == [WEIGHT, 0.5, 0.0]
    assert HiddenTerm(student, None, 0.5).weight(student) == 0.0
    small = {g.name: torch.arange(g.channels) < 1 for g in student.graph.prunable}
    cut(student, small)
    assert FROM == 0.25  # one channel of each four is a sixteenth of most layers
    assert [term.weight(student) for term in given] == [0.0, 0.5, 0.0]
