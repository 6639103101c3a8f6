"""The search for the smallest student of a stated quality: when to look, what to keep."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gan_slimming.config import Optimisation, Target
from gan_slimming.errors import UserError
from gan_slimming.student.student import Student, prepare
from gan_slimming.student.surgery import cut
from gan_slimming.training import search as module
from gan_slimming.training.schedule import Schedule
from gan_slimming.training.search import Search, check_target, slimming_share


@pytest.fixture
def student() -> Student:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    return prepare(net, (torch.zeros(1, 3, 8, 8),), bits=None)


def narrower(student: Student, width: int) -> Student:
    small = copy.deepcopy(student)
    name = small.graph.prunable[0].name
    cut(small, {name: torch.arange(8) < width})
    return small


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(Optimisation(steps=1000), slims=False, halves=False, searches=True)


def looked(student: Student, schedule: Schedule, *looks: tuple[int, float]) -> Search:
    """A search for an LPIPS of 0.1 that has seen these widths with these values."""
    values = [value for _, value in looks]
    search = Search(Target(lpips=0.1), lambda _: {"lpips": values.pop(0), "psnr": 20.0})
    for width, _ in looks:
        schedule.step += 10
        search.look(narrower(student, width), schedule)
    return search


@pytest.mark.parametrize(
    ("looks", "kept"),
    [
        ([(8, 0.01), (6, 0.05), (4, 0.09), (3, 0.2)], 2),  # the smallest that met it
        ([(8, 0.3), (6, 0.15), (4, 0.2)], 1),  # none met it: the nearest
        ([(8, 0.3), (6, 0.08), (6, 0.05), (5, 0.12)], 2),  # of one size the nearer
        ([(8, float("nan")), (8, 0.2)], 1),
        ([(8, 0.2), (8, float("nan"))], 0),
    ],
)
def test_the_smallest_that_met_the_target_is_kept_else_the_nearest(
    student: Student, schedule: Schedule, looks: list[tuple[int, float]], kept: int
) -> None:
    search = looked(student, schedule, *looks)
    assert search.kept is not None
    look, best = search.kept
    assert look == search.looks[kept]
    assert int(best.alive()[best.graph.prunable[0].name].sum()) == looks[kept][0]
    assert look.macs == looks[kept][0] * (27 + 27) * 64
    assert look.met == (looks[kept][1] <= 0.1)


@pytest.mark.parametrize(
    ("value", "at", "factor"),
    [(0.0, 500, 0.7), (0.08, 500, 0.8), (0.1, 500, 0.85), (0.11, 500, None), (0.01, 800, None)],
)
def test_the_nearer_the_target_the_less_is_slimmed_and_nothing_in_the_end(
    student: Student, schedule: Schedule, value: float, at: int, factor: float | None
) -> None:
    search = looked(student, schedule, (8, value))
    schedule.step = at
    found = search.next(schedule)
    assert (found and found.factor) == pytest.approx(factor)
    assert found is None or found.start is None


def test_a_student_that_misses_the_target_for_long_is_given_up_for_the_kept_one(
    student: Student, schedule: Schedule
) -> None:
    search = looked(student, schedule, (8, 0.0), (4, 0.2))
    schedule.begin(slimming=False)
    schedule.step += 200
    assert search.next(schedule) is None
    schedule.step += 1
    found = search.next(schedule)
    assert found is not None
    assert search.kept is not None
    assert found.start is search.kept[1]
    assert found.factor == pytest.approx(0.5**0.5)  # half as far, by the logarithm
    # What met the target then is slimmed half the way to the one that was given up.
    search.judge = lambda _: {"lpips": 0.09}
    search.missed = 5 * 54 * 64
    search.look(narrower(student, 6), schedule)
    found = search.next(schedule)
    assert found is not None
    assert (found.start, found.factor) == (None, pytest.approx((5 / 6) ** 0.5))
    search.look(narrower(student, 5), schedule)
    assert search.next(schedule) is None
    # Much nearer than the target, it passes by what was given up.
    search.judge = lambda _: {"lpips": 0.08}
    search.look(narrower(student, 5), schedule)
    found = search.next(schedule)
    assert found is not None
    assert found.factor == pytest.approx(0.8)


def test_without_a_student_that_met_the_target_there_is_no_way_back(
    student: Student, schedule: Schedule
) -> None:
    search = looked(student, schedule, (8, 0.2))
    schedule.step = 500
    assert search.next(schedule) is None


def test_psnr_counts_by_the_error_that_it_stands_for() -> None:
    target = Target(psnr=24)
    assert target.met(24.0)
    assert not target.met(23.9)
    assert target.distance(24.0) == 1.0
    assert target.distance(44.0) == pytest.approx(0.1)


def test_looks_keep_their_distance_and_one_comes_at_the_end(
    student: Student, schedule: Schedule
) -> None:
    search = looked(student, schedule, (8, 0.2))
    due = []
    while not schedule.over:
        schedule.tick(0.0)
        if search.is_due(schedule):
            due.append(schedule.step)
            search.wait(schedule)
    assert due == [*range(40, 1000, 30), 1000]


def test_by_the_clock_looks_take_a_quarter_of_the_time_at_most(student: Student) -> None:
    schedule = Schedule(Optimisation(minutes=1.0), slims=False, halves=False, searches=True)
    search = Search(Target(psnr=30.0), lambda _: {"psnr": 20.0})
    search.look(student, schedule)
    seconds, looks = 0.0, 0
    while not schedule.over:
        seconds += 0.2
        schedule.tick(seconds)
        if search.is_due(schedule):
            search.look(student, schedule)
            seconds += 3.0
            looks += 1
    assert 5 <= looks <= 7


def test_a_search_goes_on_from_its_state(student: Student, schedule: Schedule) -> None:
    search = looked(student, schedule, (8, 0.05), (5, 0.08), (4, 0.2))
    again = Search(search.target, search.judge)
    again.load_state_dict(copy.deepcopy(search.state_dict()), student)
    assert (again.looks, again.due, again.spacing) == (search.looks, search.due, search.spacing)
    assert search.kept is not None
    assert again.kept is not None
    assert again.kept[0] == search.kept[0] == search.looks[1]
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(again.kept[1](image), search.kept[1](image))
    assert again.outcome(10**6) == search.outcome(10**6)


def test_the_outcome_says_in_one_line_what_was_reached(
    student: Student, schedule: Schedule
) -> None:
    whole = 8 * 54 * 64
    found = looked(student, schedule, (8, 0.05), (4, 0.08)).outcome(whole)
    assert found["text"] == "target.lpips 0.1 is met, with 0.08 at 50.0% of the teacher's MACs."
    assert (found["met"], found["reached"], found["value"]) == (True, 0.08, 0.1)
    assert [look["macs"] for look in found["curve"]] == [whole, whole // 2]
    missed = looked(student, schedule, (8, 0.4)).outcome(whole)
    assert missed["text"].startswith("target.lpips 0.1 was not reached: the best student found has")
    assert "\n" not in missed["text"]


def test_slimming_to_a_twentieth_takes_the_share_that_was_asked_for() -> None:
    assert slimming_share(0.05, 0.08) == pytest.approx(0.08)
    assert slimming_share(0.7, 0.08) + slimming_share(0.5, 0.08) == pytest.approx(
        slimming_share(0.35, 0.08)
    )


def test_a_target_that_cannot_be_judged_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "flip_installed", lambda: False)
    check_target(Target(), 1)
    check_target(Target(psnr=20), 8)
    with pytest.raises(UserError, match=r"at least 8 held-out images, here are 7; hold out more"):
        check_target(Target(psnr=20), 7)
    with pytest.raises(UserError, match=r"target\.flip needs a package; pip install"):
        check_target(Target(flip=0.2), 8)
