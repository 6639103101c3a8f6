"""Where a run stands: by its steps as ever, by the clock as fast as steps are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from gan_slimming.config import Optimisation
from gan_slimming.training.schedule import Schedule, cosine

STEPS = Optimisation(steps=20, slim_share=0.25, half_size_share=0.5, warmup=1)
CLOCK = Optimisation(minutes=2.0, slim_share=0.25, half_size_share=0.5, warmup=1)


def by(settings: Optimisation, **arguments: object) -> Schedule:
    options = {"slims": True, "halves": True} | arguments
    return Schedule(settings, **options)  # pyright: ignore[reportArgumentType]


def run(schedule: Schedule, seconds_a_step: float = 1.5) -> list[tuple[float, ...]]:
    """Take all steps; return what schedules read at each."""
    rows, seconds = [], schedule.step * seconds_a_step
    while not schedule.over:
        last = schedule.slims_last
        slimming = schedule.stage.slimming
        rows.append((schedule.position, schedule.rate_factor(True), schedule.downscale, slimming))
        seconds += seconds_a_step
        schedule.tick(seconds)
        if last:
            schedule.begin(slimming=False)
    return rows


def test_by_steps_the_position_is_the_step() -> None:
    rows = run(by(STEPS))
    assert [row[0] for row in rows] == list(range(20))
    assert [row[2] for row in rows] == [2] * 10 + [1] * 10
    assert [row[3] for row in rows] == [True] * 5 + [False] * 15
    expected = [cosine(at, 5, 0.5) for at in range(5)] + [cosine(at, 15) for at in range(15)]
    assert [row[1] for row in rows] == expected


@pytest.mark.parametrize("seconds_a_step", [0.7, 1.5, 11.0])
def test_by_the_clock_a_run_ends_with_its_time_whatever_a_step_lasts(
    seconds_a_step: float,
) -> None:
    schedule = by(CLOCK)
    rows = run(schedule, seconds_a_step)
    assert 120 <= len(rows) * seconds_a_step < 120 + seconds_a_step
    positions, rates = [row[0] for row in rows], [row[1] for row in rows if not row[3]]
    assert positions == sorted(positions)
    assert positions[-1] < 1 == schedule.position
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 1.0
    # Slimming, 2.5 times as dear at half the size, ends in time, and so does half the size.
    whole = 0.25 * 2.5 + 0.25 * 1 + 0.5 * 4
    slims = sum(row[3] for row in rows) * seconds_a_step
    halves = sum(row[2] == 2 for row in rows) * seconds_a_step
    assert slims == pytest.approx(120 * 0.625 / whole, abs=2 * seconds_a_step)
    assert halves == pytest.approx(120 * 0.875 / whole, abs=2 * seconds_a_step)


def test_slimming_ends_even_where_the_time_does_not_last() -> None:
    schedule = by(CLOCK)
    assert [row[3] for row in run(schedule, 500.0)] == [True, True]
    assert not schedule.stage.slimming


def known_steps(schedule: Schedule, seconds: Callable[[int], float]) -> list[tuple[int, int]]:
    """Take all steps; return at which of them more were expected, and how many."""
    known = []
    while not schedule.over:
        if schedule.tick(seconds(schedule.step + 1)):
            known.append((schedule.step, schedule.steps))
    return known


def test_the_number_of_steps_is_estimated_early_and_seldom() -> None:
    schedule = by(replace(CLOCK, half_size_share=1.0), slims=False, halves=False)
    ((step, expected),) = known_steps(schedule, lambda step: step * 0.3)
    assert step <= 10
    assert expected == pytest.approx(400, rel=0.02)
    assert by(STEPS).steps == 20


def test_a_long_start_and_slow_first_steps_hide_few_of_the_steps() -> None:
    """Half a minute passes before the first step of two; ten of them take a second, then 0.1 s."""

    def seconds(step: int) -> float:
        return 30 + min(step, 10) + 0.1 * max(0, step - 10)

    schedule = by(CLOCK, slims=False, halves=False)
    known = known_steps(schedule, seconds)
    assert all(after > 1.2 * before for (_, before), (_, after) in pairwise(known))
    assert known[0][0] < 10
    half = [expected for step, expected in known if step < schedule.step / 2]
    assert half[-1] > schedule.step / 2
    assert schedule.steps > schedule.step / 1.2


def test_a_run_by_the_clock_can_be_repeated_from_its_record() -> None:
    first = by(CLOCK)
    records, seconds = [], 0.0
    for step in range(60):
        seconds += 1.0 + step % 3
        first.tick(seconds)
        records.append(first.record()["progress"])
    again = by(CLOCK, positions=records)
    for number, position in enumerate(records, start=1):
        again.tick(0.0)
        assert again.position == position == float(f"{position:.6g}")
        assert again.step == number
    assert again.steps == first.steps > 0
    assert all(a <= b for a, b in pairwise(records))


@pytest.mark.parametrize("settings", [STEPS, CLOCK])
def test_it_goes_on_from_its_state(settings: Optimisation) -> None:
    whole, first, second = by(settings), by(settings), by(settings)
    rows = run(whole)
    for step in range(1, 4):
        first.tick(step * 1.5)
    second.load_state_dict(first.state_dict())
    assert run(second) == rows[3:]


@pytest.mark.parametrize(("step", "slimming"), [(3, True), (5, False), (9, False)])
def test_a_checkpoint_of_version_0_1_has_its_step_alone(step: int, slimming: bool) -> None:
    schedule = by(STEPS)
    schedule.load_state_dict({"step": step})
    assert (schedule.step, schedule.stage.slimming) == (step, slimming)
    assert schedule.stage.first_step == (0 if slimming else 5)
    assert (schedule.stage.start, schedule.stage.end) == ((0, 5) if slimming else (5, 20))


@pytest.mark.parametrize("settings", [STEPS, replace(CLOCK, half_size_share=1.0)])
def test_quality_is_tracked_a_few_times_and_at_the_end(settings: Optimisation) -> None:
    schedule, crossed = by(settings, slims=False), []
    for step in range(1, 81):
        if schedule.over:
            break
        schedule.tick(step * 1.5)
        crossed.append(schedule.crosses(5))
    assert sum(crossed) == 5
    assert crossed[-1]


def test_in_a_search_one_cosine_spans_all_stages() -> None:
    schedule, rates = by(STEPS, slims=False, searches=True), []
    for step in range(20):
        if step in (5, 12):
            schedule.begin(slimming=True, share=0.1)
        if schedule.slims_last:
            schedule.tick(0.0)
            schedule.begin(slimming=False)
        else:
            schedule.tick(0.0)
        rates.append(schedule.rate_factor(True))
    assert rates == [cosine(step, 20) for step in range(1, 21)]


def test_it_says_how_far_it_is() -> None:
    steps, clock = by(STEPS), by(CLOCK, slims=False, halves=False)
    for schedule in (steps, clock):
        for step in range(1, 4):
            schedule.tick(step * 10.0)
    assert str(steps) == "step 3 of 20"
    assert str(clock) == "step 3, 25% of 2 minutes"
    assert (steps.total, clock.total) == (20, 12)
    assert (steps.share, clock.share) == (0.15, 0.25)
