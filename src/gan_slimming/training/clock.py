"""The time of a run: seconds of work, and how many of its steps a share of the time is worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from gan_slimming.data.ranks.launch import alone

SLIM_STEP_COST = 2.5
"""Time of a step of slimming over that of one of recovery; the dense first ones cost more."""
FULL_SIZE_COST = 4.0
"""Time of a step at full size over that of one at half the size."""
Costs = Sequence[tuple[float, float]]
"""(share of the steps, relative time of each) of the parts of a run, in order."""


class Stopwatch:
    """The seconds of a run's work. It stands between laps: in pauses, and while others are served.

    A lap counts as the lesser of time on the wall and processor time: a process that is stopped, a
    machine asleep and a processor that others use do not count. On a device other than the CPU,
    where the processor may wait without working, the wall counts.

    Args:
        device: 'cpu', or another type of device. The wall also counts where processes wait for each
            other.
        wall, processor: sources of seconds.
    """

    def __init__(
        self,
        device: str = "cpu",
        wall: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
    ):
        self._sources = (wall, processor) if device == "cpu" and alone() else (wall,)
        self._laps = 0.0
        self._starts: list[float] | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds of all laps, the present one included."""
        if self._starts is None:
            return self._laps
        pairs = zip(self._sources, self._starts, strict=True)
        return self._laps + min(now() - start for now, start in pairs)

    def set(self, seconds: float) -> None:
        """Go on from so many seconds; a lap that is under way goes on from now."""
        self._laps = seconds
        if self._starts is not None:
            self._starts = [now() for now in self._sources]

    @contextmanager
    def lap(self) -> Iterator[None]:
        """Count the time of what happens meanwhile."""
        self._starts = [now() for now in self._sources]
        try:
            yield
        finally:
            self._laps, self._starts = self.seconds, None


def step_costs(slim: float, half: float) -> list[tuple[float, float]]:
    """Return what the steps of a run cost.

    Args:
        slim: share of the steps for slimming, the first ones.
        half: share of the steps at half the size, the first ones; 0 where all have one size.
    """
    return [
        (
            end - start,
            (SLIM_STEP_COST if start < slim else 1.0) * (1.0 if start < half else FULL_SIZE_COST),
        )
        for start, end in pairwise(sorted({0.0, slim, half, 1.0}))
    ]


def share_of_steps(time_share: float, costs: Costs) -> float:
    """Return the share of the steps that is over after a share of the time, both in [0, 1]."""
    left = min(1.0, max(0.0, time_share)) * sum(share * cost for share, cost in costs)
    over = 0.0
    for share, cost in costs:
        if left < share * cost:
            return over + left / cost
        left -= share * cost
        over += share
    return 1.0
