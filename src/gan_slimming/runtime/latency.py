"""The latency of calls: one process per candidate, with repetitions interleaved.

Other load on the machine then affects all candidates alike, and none warms another's cache.
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


def summarise(times: Sequence[tuple[float, float]]) -> Latency:
    """Summarise the (wall, processor) seconds of repetitions, at least one."""
    wall = sorted(1e3 * seconds for seconds, _ in times)
    quarters = statistics.quantiles(wall, n=4, method="inclusive") if len(wall) > 1 else wall * 3
    cpu = statistics.median(1e3 * seconds for _, seconds in times)
    return Latency(statistics.median(wall), quarters[2] - quarters[0], wall[0], cpu, len(wall))


def measure(
    jobs: Sequence[Any], load: Load, *, warm_up: int = 3, rounds: int = 10, repeat: int = 3
) -> list[tuple[Latency, dict[str, Any]]]:
    """Time each job in its own process, which waits while others are timed.

    Args:
        jobs: anything that can be pickled.
        load: a function at the top of a module, called with a job in its process.
        warm_up: first calls, which do not count.
        rounds: turns of each job.
        repeat: calls of one turn.
    Returns:
        For each job its latency and the report from `load`, with peak_bytes.
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
            for (_, pipe), job_times in zip(workers, times, strict=True):
                pipe.send(repeat)
                job_times += _receive(pipe)
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
    """Load, warm up, then time as many calls as each message asks for, until one asks for 0."""
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
    """Return the process's peak memory in bytes, libraries included."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would include the parent's memory before exec
        kibibytes = [line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line]
        return 1024 * int(kibibytes[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
