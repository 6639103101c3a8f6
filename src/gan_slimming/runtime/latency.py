"""The latency of calls: one process per candidate, with repetitions interleaved.

Other load on the machine then affects all candidates alike, and none warms another's cache.
"""

from __future__ import annotations

import contextlib
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gan_slimming.errors import UserError

Call = Callable[[], Any]
Load = Callable[[Any], tuple[Call, Callable[[], dict[str, Any]]]]
"""Job -> (the call to time, the function that reports afterwards)."""


@dataclass(frozen=True)
class Latency:
    """Wall time of one call.

    Attributes:
        median_ms: of all repetitions.
        spread_ms: interquartile range.
        best_ms: of the fastest repetition, nearest to an idle machine.
        cpu_ms: median processor time over all threads, which other processes hardly change.
        runs: number of repetitions.
    """

    median_ms: float
    spread_ms: float
    best_ms: float
    cpu_ms: float
    runs: int


UNKNOWN = Latency(math.nan, math.nan, math.nan, math.nan, 0)
"""The latency of what does not run."""


def summarise(times: Sequence[tuple[float, float]]) -> Latency:
    """Summarise the (wall, processor) seconds of repetitions, at least one."""
    wall = sorted(1e3 * seconds for seconds, _ in times)
    quarters = statistics.quantiles(wall, n=4, method="inclusive") if len(wall) > 1 else wall * 3
    cpu = statistics.median(1e3 * seconds for _, seconds in times)
    return Latency(statistics.median(wall), quarters[2] - quarters[0], wall[0], cpu, len(wall))


def measure(
    jobs: Sequence[Any],
    load: Load,
    *,
    warm_up: int = 3,
    rounds: int = 10,
    repeat: int = 3,
    keep_going: bool = False,
) -> list[tuple[Latency, dict[str, Any]]]:
    """Time each job in its own process, which waits while others are timed.

    Args:
        jobs: anything that can be pickled.
        load: a function at the top of a module, called with a job in its process.
        warm_up: first calls, which do not count.
        rounds: turns of each job.
        repeat: calls of one turn.
        keep_going: whether a job that cannot be loaded or run gets the latency UNKNOWN and a
            report of `problem`, in place of an error.
    Returns:
        For each job its latency and the report from `load`, with peak_bytes of loading and running.
    Raises:
        UserError: a job cannot be loaded or run.
    """
    import multiprocessing

    context = multiprocessing.get_context("spawn")  # a forked torch or OpenVINO may hang
    workers: list[_Worker] = []
    try:
        for job in jobs:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, load, job, warm_up), daemon=True)
            process.start()
            theirs.close()
            workers.append(_Worker(process, ours, keep_going))
            workers[-1].receive()  # one after the other, so that none is short of memory or cores
        for _ in range(rounds):
            for worker in workers:
                worker.times += worker.ask(repeat) or []
        for worker in workers:
            worker.report |= worker.ask(0) or {}
        return [(summarise(w.times) if w.works else UNKNOWN, w.report) for w in workers]
    finally:
        for worker in workers:
            worker.pipe.close()
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()


@dataclass
class _Worker:
    """A job's process, what it took, and what it reports."""

    process: Any
    pipe: Connection
    keep_going: bool
    times: list[tuple[float, float]] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Return whether no problem was met."""
        return "problem" not in self.report

    def ask(self, repeat: int) -> Any:
        """Return the answer to a message; None once there is a problem."""
        if not self.works:
            return None
        with contextlib.suppress(OSError):  # it has died, which the answer tells
            self.pipe.send(repeat)
        return self.receive()

    def receive(self) -> Any:
        """Return the next answer; note a problem, or raise it."""
        try:
            return _receive(self.pipe)
        except UserError as error:
            if not self.keep_going:
                raise
            self.report["problem"] = str(error)
            return None


def _serve(pipe: Connection, load: Load, job: Any, warm_up: int) -> None:
    """Load, warm up, then time as many calls as each message asks for, until one asks for 0."""
    try:
        call, report = load(job)
        for _ in range(warm_up):
            call()
        pipe.send(None)
        while repeat := pipe.recv():
            pipe.send([_timed(call) for _ in range(repeat)])
        peak = _peak_bytes()  # before the report, which may draw images and open files again
        pipe.send({**report(), "peak_bytes": peak})
    except EOFError:
        return  # the parent has gone
    except Exception as error:
        text = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        pipe.send(UserError(" ".join(str(text).split())))


def _timed(call: Call) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def _receive(pipe: Connection) -> Any:
    try:
        answer = pipe.recv()
    except EOFError as error:
        raise UserError(
            "a measuring process died, most likely for want of memory; take a smaller --size"
        ) from error
    if isinstance(answer, UserError):
        raise answer
    return answer


def _peak_bytes() -> int:
    """Return the process's peak memory in bytes, libraries included."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would include the parent's memory before exec
        kibibytes = [line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line]
        return 1024 * int(kibibytes[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
