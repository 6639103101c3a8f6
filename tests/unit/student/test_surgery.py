"""Surgery beyond the student's ordinary life: signs, repetition, blocks whose last gates died."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.models import CartoonGenerator
from gan_slimming.student.student import Student, calibrate, prepare
from gan_slimming.student.surgery import cut, extract, remove_empty_blocks, restore, set_gates

IMAGE = torch.rand(1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def teacher(lively_cartoongan: CartoonGenerator) -> CartoonGenerator:
    return lively_cartoongan


@pytest.fixture
def student(teacher: nn.Module) -> Student:
    student = prepare(teacher, (IMAGE,), bits=8)
    calibrate(student, [(IMAGE,)])
    return student


def output(module: nn.Module, image: Tensor = IMAGE) -> Tensor:
    with torch.no_grad():
        return module(image)


def kill(student: Student, group: str, channels: list[int]) -> None:
    student.gate_of(group).data[channels] = 0


def test_gates_may_change_sign(student: Student) -> None:
    before = output(student)
    values = {g.name: torch.linspace(-2, 3, g.channels).double() for g in student.graph.prunable}
    set_gates(student, values)
    torch.testing.assert_close(output(student), before, rtol=0, atol=1e-10)


def test_moving_some_gates_leaves_the_others(student: Student) -> None:
    before = output(student)
    first, second, *_ = (g.name for g in student.graph.prunable)
    set_gates(student, {first: torch.full_like(student.gate_of(first), 7.0)})
    assert (student.gate_of(first) == 7).all()
    assert (student.gate_of(second) == 1).all()
    torch.testing.assert_close(output(student), before, rtol=0, atol=1e-10)


def test_keeping_everything_cuts_nothing(student: Student) -> None:
    before, parameters = deepcopy(student.graph.shapes), [id(p) for p in student.parameters()]
    cut(student, student.alive())
    cut(student, {})
    assert student.graph.shapes == before
    assert [id(p) for p in student.parameters()] == parameters


def test_cutting_in_two_goes_is_cutting_at_once(student: Student) -> None:
    group = student.graph.prunable[0].name
    at_once = deepcopy(student)
    kill(at_once, group, [0, 2])
    cut(at_once, at_once.alive())
    kill(student, group, [0])
    cut(student, student.alive())
    kill(student, group, [1])
    cut(student, student.alive())
    assert torch.equal(student.kept[group], at_once.kept[group])
    assert torch.equal(output(student), output(at_once))


def test_a_block_whose_last_gates_died_is_the_identity_once_extracted(student: Student) -> None:
    """The gate of a block's last layer is the residual stream's: all of it must be dead."""
    for block in student.graph.blocks:
        stream = [
            g for g in student.graph.prunable if any(p.tensor == block.gated for p in g.gated)
        ]
        for group in stream:
            kill(student, group.name, list(range(group.channels)))
    small = extract(student)
    torch.testing.assert_close(output(small), output(student), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [(8, 8), (12, 20)])
def test_an_extracted_student_is_exact_at_other_sizes(
    student: Student, size: tuple[int, int]
) -> None:
    for group in student.graph.prunable:
        kill(student, group.name, [0])
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(
        output(extract(student), image), output(student, image), rtol=0, atol=1e-10
    )


def test_extraction_does_not_depend_on_what_was_cut_before(student: Student) -> None:
    for group in student.graph.prunable:
        kill(student, group.name, [1])
    early = extract(student).state_dict()
    cut(student, student.alive())
    late = extract(student).state_dict()
    assert early.keys() == late.keys()
    assert all(torch.equal(v, late[k]) for k, v in early.items() if isinstance(v, Tensor))


def test_a_quantised_student_is_restored_scales_and_all(
    student: Student, teacher: nn.Module
) -> None:
    inner = student.graph.blocks[0].inner[0]
    kill(student, inner, list(range(16)))
    remove_empty_blocks(student)
    kill(student, student.graph.prunable[0].name, [3])
    cut(student, student.alive())
    fresh = prepare(teacher, (IMAGE,), bits=8)
    restore(fresh, student.kept, student.identities)
    fresh.load_state_dict(student.state_dict())
    assert torch.equal(output(fresh), output(student))
    restore(fresh, {g.name: torch.arange(g.channels) for g in fresh.graph.groups}, fresh.identities)
    assert torch.equal(output(fresh), output(student))
