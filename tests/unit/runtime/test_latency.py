"""Measuring: what is summed up, and processes that answer in turn. No time is asserted."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from gan_slimming.errors import UserError
from gan_slimming.runtime.latency import measure, summarise


def test_median_and_spread() -> None:
    latency = summarise([(0.004, 0.1), (0.001, 0.2), (0.002, 0.3), (0.003, 0.4), (0.1, 0.5)])
    assert (latency.median_ms, latency.spread_ms) == pytest.approx((3.0, 2.0))
    assert latency.best_ms == pytest.approx(1.0)
    assert latency.cpu_ms == pytest.approx(300.0)
    assert latency.runs == 5
    assert summarise([(0.5, 0.5)]).spread_ms == 0


def load(job: str) -> tuple[Callable[[], Any], Callable[[], dict[str, Any]]]:
    """A job for a test, found again by its process."""
    if job == "wrong":
        raise UserError("no such job")
    calls: list[str] = []
    return lambda: (calls.append(job), time.sleep(0.001)), lambda: {"calls": len(calls), "job": job}


def test_each_job_has_its_process_and_its_turns() -> None:
    found = measure(["a", "b"], load, warm_up=2, rounds=3, repeat=2)
    assert [report["job"] for _, report in found] == ["a", "b"]
    for latency, report in found:
        assert report["calls"] == 2 + 3 * 2
        assert latency.runs == 6
        assert latency.best_ms >= 1.0
        assert report["peak_bytes"] > 1_000_000


def test_a_job_that_fails_says_why() -> None:
    with pytest.raises(UserError, match="no such job"):
        measure(["a", "wrong"], load)


def test_the_others_go_on_if_they_shall() -> None:
    found = measure(["a", "wrong", "b"], load, rounds=1, repeat=1, keep_going=True)
    assert [report.get("problem") for _, report in found] == [None, "no such job", None]
    assert [latency.runs for latency, _ in found] == [1, 0, 1]
