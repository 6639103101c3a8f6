"""The clock of a run: what counts as work, and what a share of the time is worth in steps."""

from __future__ import annotations

import pytest

from gan_slimming.training.clock import Stopwatch, share_of_steps, step_costs


class Times:
    """A source of seconds that stands where it is put."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_lap_counts_the_lesser_of_wall_and_processor_time() -> None:
    wall, processor = Times(), Times()
    watch = Stopwatch("cpu", wall, processor)
    for passed, worked in ((3.0, 2.0), (3.0, 8.0), (600.0, 0.5)):  # shared, two threads, suspended
        with watch.lap():
            wall.now += passed
            processor.now += worked
    assert watch.seconds == 2.0 + 3.0 + 0.5


def test_it_stands_between_laps_and_runs_within_one() -> None:
    wall, processor = Times(), Times()
    watch = Stopwatch("cpu", wall, processor)
    with watch.lap():
        wall.now, processor.now = 104.0, 104.0
        assert watch.seconds == 4.0
    wall.now, processor.now = 500.0, 500.0
    assert watch.seconds == 4.0


def test_on_a_gpu_the_wall_counts() -> None:
    wall, processor = Times(), Times()
    watch = Stopwatch("cuda", wall, processor)
    with watch.lap():
        wall.now += 5.0
    assert watch.seconds == 5.0


def test_it_goes_on_from_a_checkpoints_seconds_also_within_a_lap() -> None:
    wall, processor = Times(), Times()
    watch = Stopwatch("cpu", wall, processor)
    watch.set(40.0)
    with watch.lap():
        wall.now, processor.now = 110.0, 110.0
        assert watch.seconds == 50.0
        watch.set(30.0)
        assert watch.seconds == 30.0
        wall.now, processor.now = 112.0, 112.0
    assert watch.seconds == 32.0


@pytest.mark.parametrize(
    ("slim", "half", "expected"),
    [
        (0.08, 0.95, [(0.08, 2.5), (0.87, 1.0), (0.05, 4.0)]),
        (0.0, 0.95, [(0.95, 1.0), (0.05, 4.0)]),
        (0.5, 0.0, [(0.5, 10.0), (0.5, 4.0)]),
        (0.5, 0.25, [(0.25, 2.5), (0.25, 10.0), (0.5, 4.0)]),
        (0.0, 1.0, [(1.0, 1.0)]),
    ],
)
def test_steps_cost_by_stage_and_size(
    slim: float, half: float, expected: list[tuple[float, float]]
) -> None:
    costs = step_costs(slim, half)
    assert [cost for _, cost in costs] == [cost for _, cost in expected]
    assert [share for share, _ in costs] == pytest.approx([share for share, _ in expected])


def test_a_share_of_the_time_is_worth_the_steps_that_fit_into_it() -> None:
    costs = step_costs(0.08, 0.95)
    steps = 10_000
    prices = [cost for share, cost in costs for _ in range(round(share * steps))]
    whole, spent = sum(prices), 0.0
    for taken, price in enumerate(prices):
        assert share_of_steps(spent / whole, costs) == pytest.approx(taken / steps, abs=1e-6)
        spent += price
    assert [share_of_steps(t, costs) for t in (-1.0, 0.0, 1.0, 7.0)] == [0.0, 0.0, 1.0, 1.0]


def test_the_budget_is_reached_in_the_first_sixth_of_the_time() -> None:
    assert share_of_steps(1 / 6, step_costs(0.08, 0.95)) > 0.08
