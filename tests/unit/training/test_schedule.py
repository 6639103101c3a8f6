"""Where a run stands: by its steps as ever, by the clock as fast as steps are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from gan_slimming.config import Optimisation
from gan_slimming.training.schedule import Schedule, cosine, warm_up

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


def test_by_the_clock_a_step_counts_by_its_cost() -> None:
    """Half of the steps at half the size take a fifth of the time; alike steps a steady share."""
    halved, plain = by(CLOCK, slims=False), by(CLOCK, slims=False, halves=False)
    slims = by(CLOCK, halves=False)
    for schedule in (halved, plain, slims):
        schedule.tick(24.0)
    assert halved.position == pytest.approx(0.5)
    assert plain.position == pytest.approx(0.2)
    # A quarter of the steps takes 2.5 times as long as each of the rest.
    assert slims.position == pytest.approx(0.2 * (0.25 * 2.5 + 0.75) / 2.5, abs=1e-6)


def test_a_step_by_the_clock_leads_as_far_as_it_lasts() -> None:
    schedule = by(CLOCK, slims=False, halves=False)
    assert (schedule.stride, schedule.after) == (0.0, 0.0)
    for seconds in (12.0, 36.0):
        schedule.tick(seconds)
    assert (schedule.position, schedule.after) == (pytest.approx(0.3), schedule.position)
    assert schedule.stride == pytest.approx(0.2)
    schedule.tick(30.0)  # a clock that was set back: the position never is
    assert (schedule.position, schedule.stride) == (pytest.approx(0.3), 0.0)


def test_a_stage_knows_its_ends_and_what_is_over() -> None:
    steps, clock = by(STEPS), by(CLOCK, slims=False, halves=False)
    assert (steps.stage.end, steps.stage_ends) == (5, 5)
    assert (by(STEPS, slims=False).stage.end, clock.stage.end) == (20, 1.0)
    for step in range(1, 9):
        steps.tick(0.0)
        clock.tick(step * 12.0)
    assert (steps.stride, steps.after) == (0.0, 9)
    assert clock.stage_ends == clock.total == 10
    steps.begin(slimming=False)
    clock.begin(slimming=True, share=0.1)
    assert (steps.stage.start, steps.stage.end) == (8, 20)
    assert (clock.stage.start, clock.stage.end) == (pytest.approx(0.8), pytest.approx(0.9))
    for seconds in (102.0, 102.0, 102.0):
        steps.tick(0.0)
        clock.tick(seconds)
    assert steps.recovered == pytest.approx(3 / 12)
    assert clock.recovered == pytest.approx(0.5)
    assert clock.stage_ends == clock.step + 1 == 12
    steps.begin(slimming=True, share=0.25)
    assert (steps.stage.first_step, steps.stage.start, steps.stage.end) == (11, 11, 16)


def test_quality_is_tracked_in_equal_parts_of_the_stage() -> None:
    steps, crossed = by(STEPS), []
    for step in range(1, 21):
        steps.tick(0.0)
        if step == 5:
            steps.begin(slimming=False)
        crossed.append(steps.crosses(3))
    assert [step for step, at in enumerate(crossed, 1) if at and step > 5] == [10, 15, 20]
    many = by(STEPS, slims=False)
    many.tick(0.0)
    assert many.crosses(1000)  # at each step, where there are fewer of them


def test_a_state_by_the_clock_keeps_what_the_estimate_depends_on() -> None:
    schedule, again = by(CLOCK), by(CLOCK)
    for seconds in (30.0, 33.0, 36.0, 39.0):
        schedule.tick(seconds)
    again.load_state_dict(schedule.state_dict())
    assert again.total == schedule.total > schedule.step
    assert again.state_dict() == schedule.state_dict()
    assert again.stride == 0.0  # a stride is never taken twice


def test_the_rate_rises_in_the_warm_up_and_falls_to_its_end() -> None:
    assert [warm_up(step, 4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert warm_up(0, 0) == 1.0
    assert [cosine(at, 2, 0.5) for at in range(4)] == pytest.approx([1, 0.75, 0.5, 0.5])
    schedule = by(replace(STEPS, warmup=4))
    rates = []
    for _ in range(5):
        rates.append((schedule.rate_factor(False), schedule.rate_factor(True)))
        schedule.tick(0.0)
    rising = [warm_up(step, 4) for step in range(5)]
    assert [r for r, _ in rates] == [cosine(s, 5) * rising[s] for s in range(5)]
    assert [r for _, r in rates] == [cosine(s, 5, 0.5) * rising[s] for s in range(5)]


def test_shares_of_the_steps_are_whole_numbers() -> None:
    assert by(replace(STEPS, steps=10)).stage.end == 2
    assert by(replace(STEPS, steps=11)).stage.end == 3
    assert by(replace(STEPS, steps=2, slim_share=0.01)).stage.end == 1


def test_slimming_by_rho_takes_more_of_the_steps_unless_its_share_is_named() -> None:
    usual = replace(STEPS, steps=1000, slim_share=None)
    assert by(usual).stage.end == 25
    assert by(usual, by_rho=True).stage.end == 80
    assert by(replace(usual, slim_share=0.5), by_rho=True).stage.end == 500


def test_no_number_of_steps_is_told_before_it_can_be_known() -> None:
    schedule = by(CLOCK, slims=False, halves=False)
    assert schedule.steps == 0
    told = [schedule.tick(seconds) for seconds in (30.0, 31.0, 32.0, 33.0)]
    assert told == [False, False, False, True]
    assert schedule.steps == schedule.total == 91


def test_quality_is_tracked_in_equal_parts_of_a_stage_by_the_clock() -> None:
    schedule, crossed = by(CLOCK, slims=False, halves=False), []
    for step in range(1, 121):
        schedule.tick(float(step))
        if step == 60:
            schedule.begin(slimming=False)
        crossed.append(step > 60 and schedule.crosses(5))
    assert [step for step, at in enumerate(crossed, 1) if at] == [72, 85, 96, 108, 120]


def test_only_a_run_by_the_clock_records_its_progress() -> None:
    steps, clock = by(STEPS), by(CLOCK, slims=False, halves=False)
    for schedule in (steps, clock):
        schedule.tick(30.0)
    assert (steps.record(), clock.record()) == ({}, {"progress": 0.25})


def test_a_state_without_its_first_position_is_of_an_older_version() -> None:
    schedule, again = (by(CLOCK, slims=False, halves=False) for _ in range(2))
    for seconds in (0.0, 30.0, 60.0):
        schedule.tick(seconds)
    state = schedule.state_dict()
    assert state.pop("first") == 0.0
    again.load_state_dict(state)
    assert again.total == schedule.total == 5
