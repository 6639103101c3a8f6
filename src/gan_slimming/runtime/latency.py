"""How long a call takes: one process for each candidate, their repetitions interleaved.

What else happens on the machine then falls on all candidates alike, and none warms another's cache.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gan_slimming.errors import UserError

Call = Callable[[], Any]
Load = Callable[[Any], tuple[Call, Callable[[], dict[str, Any]]]]
"""Job -> (what is timed, what is asked once it is over)."""


@dataclass(frozen=True)
class Latency:
    """Wall time of one call.

    Attributes:
        median_ms: of all repetitions.
        spread_ms: distance between the first and the third quartile.
        best_ms: the fastest one, nearest to an idle machine.
        cpu_ms: median processor time over all threads, which other processes hardly change.
        runs: repetitions.
    """

    median_ms: float
    spread_ms: float
    best_ms: float
    cpu_ms: float
    runs: int


def summarise(times: Sequence[tuple[float, float]]) -> Latency:
    """(wall, processor) seconds of each repetition, at least one."""
    wall = sorted(1e3 * seconds for seconds, _ in times)
    quarters = statistics.quantiles(wall, n=4, method="inclusive") if len(wall) > 1 else wall * 3
    cpu = statistics.median(1e3 * seconds for _, seconds in times)
    return Latency(statistics.median(wall), quarters[2] - quarters[0], wall[0], cpu, len(wall))


def measure(
    jobs: Sequence[Any], load: Load, *, warm_up: int = 3, rounds: int = 10, repeat: int = 3
) -> list[tuple[Latency, dict[str, Any]]]:
    """Each job in a process of its own, waiting while the others are timed.

    Args:
        jobs: anything that can be pickled.
        load: a function at the top of a module, called with a job in its process.
        warm_up: calls that are not counted.
        rounds: how often each job has its turn.
        repeat: calls of one turn.
    Returns:
        For each job its latency and a report: what `load` tells, and peak_bytes.
    Raises:
        UserError: a job cannot be loaded or run.
    """
    import multiprocessing

    context = multiprocessing.get_context("spawn")  # a forked torch or OpenVINO may hang
    workers = []
    try:
        for job in jobs:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, load, job, warm_up), daemon=True)
            process.start()
            theirs.close()
            workers.append((process, ours))
            _receive(ours)  # one after the other, so that none is short of memory or cores
        times: list[list[tuple[float, float]]] = [[] for _ in workers]
        for _ in range(rounds):
            for (_, pipe), found in zip(workers, times, strict=True):
                pipe.send(repeat)
                found += _receive(pipe)
        reports = []
        for _, pipe in workers:
            pipe.send(0)
            reports.append(_receive(pipe))
        return [(summarise(t), report) for t, report in zip(times, reports, strict=True)]
    finally:
        for process, pipe in workers:
            pipe.close()
            process.join(5)
            if process.is_alive():
                process.kill()


def _serve(pipe: Connection, load: Load, job: Any, warm_up: int) -> None:
    """The life of a worker: load, warm up, then time as many calls as it is asked to; 0 ends it."""
    try:
        call, report = load(job)
        for _ in range(warm_up):
            call()
        pipe.send(None)
        while repeat := pipe.recv():
            pipe.send([_timed(call) for _ in range(repeat)])
        pipe.send({**report(), "peak_bytes": _peak_bytes()})
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
    """Most memory that this process has held, libraries included."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent held before it became this one
        held = [line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line]
        return 1024 * int(held[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
