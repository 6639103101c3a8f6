"""Damage real files at random and read them as users do: each is read, or refused in one line.

    python -m tests.faults.fuzz --seconds 300
    python -m tests.faults.fuzz --kinds images,weights --count 20000
    python -m tests.faults.fuzz --kinds weights --first 1234 --count 1 --keep found/
    python -m tests.faults.fuzz --count 20000 --record results/faults/fuzz.json

With a record it goes on where the one before stopped, in any number of sessions, each with the code
and the machine of its day.

A file is known by its kind and number, from which its damage is drawn. Kinds take turns, each in a
process of its own, so that crashes and hangs of native code are seen as well. A failure is any
exception but UserError, more than 20 seconds of the processor, a crash, more than 1 GiB of memory
beyond the process's own, or a checkpoint of other content that passes for whole.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.kinds import KINDS, damage, read, result_of
from tests.faults.tiny_run import warm_up

from gan_slimming.data.files import write_atomically
from gan_slimming.serialization.provenance import environment

SECONDS = 20
"""Most processor time that a file may take."""
MEMORY = 1 << 30
"""Most bytes of resident memory that a file may add."""
TURN = 30
"""Seconds after which it is the next kind's turn."""
OUTCOMES = ("read", "refused", "failed")
"""What may come of a file."""


def main() -> int:
    """Fuzz until time or count is over; the last line is JSON."""
    parser = argparse.ArgumentParser(description="Read damaged files as users do.")
    parser.add_argument("--kinds", default=",".join(KINDS), help="names between commas")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--count", type=int, default=10**9, help="files of each kind")
    parser.add_argument("--seconds", type=float, default=1e9, help="time for all kinds together")
    parser.add_argument("--keep", type=Path, help="folder for files that failed")
    parser.add_argument("--record", type=Path, help="file of counts to go on with, .json")
    options = parser.parse_args()
    warm_up()
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    started = time.monotonic()
    until = started + options.seconds
    states = {kind: State(kind, place / kind, options.first) for kind in options.kinds.split(",")}
    record = Record(options.record.absolute()) if options.record else None
    if record:
        record.go_on(states)
    try:
        while time.monotonic() < until:
            open_ones = [s for s in states.values() if s.next < options.first + options.count]
            for state in open_ones:
                turn = TURN if len(open_ones) > 1 else 600
                turn = min(turn, (until - time.monotonic()) / len(open_ones), 600)
                state.go_on(options.first + options.count, turn, options.keep)
                print(json.dumps(state.told()), file=sys.stderr, flush=True)
                if record:
                    record.write(states, time.monotonic() - started)
            if not open_ones:
                break
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps([state.told() for state in states.values()]))
    return 1 if any(state.failures for state in states.values()) else 0


class Record:
    """The counts of several sessions, in a file."""

    def __init__(self, file: Path):
        self.file = file
        self.kinds: dict[str, Any] = {}
        """Kind -> its figures, of all sessions together."""
        self.sessions: list[dict[str, Any]] = []
        if file.is_file():
            known = json.loads(file.read_text())
            self.kinds, self.sessions = known["kinds"], known["sessions"]
        self.session = {"files": 0, "seconds": 0.0, "environment": environment()}
        self.before = sum(kind["files"] for kind in self.kinds.values())

    def go_on(self, states: dict[str, State]) -> None:
        """Let kinds go on with the file after the last."""
        for name, known in self.kinds.items():
            if name in states:
                states[name].go_on_from(known)

    def write(self, states: dict[str, State], seconds: float) -> None:
        """Write what has come of all files so far."""
        self.kinds |= {name: state.told() for name, state in states.items()}
        files = sum(kind["files"] for kind in self.kinds.values()) - self.before
        self.session |= {"files": files, "seconds": round(seconds)}
        told = {"kinds": self.kinds, "sessions": [*self.sessions, self.session]}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, (json.dumps(told, indent=2) + "\n").encode())


class State:
    """What has come of the files of one kind."""

    def __init__(self, kind: str, place: Path, first: int):
        self.kind, self.place, self.next = kind, place, first
        self.counts: Counter[str] = Counter()
        self.failures: dict[str, dict[str, Any]] = {}
        """What failed -> number of the first such file, and count."""
        self.peak = 0

    def told(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {"kind": self.kind, "files": self.counts.total(), **self.counts, "next": self.next,
                "peak_mib": self.peak >> 20, "failures": self.failures}  # fmt: skip

    def go_on_from(self, told: dict[str, Any]) -> None:
        """Go on where the figures of an earlier session end."""
        self.next, self.failures = told["next"], told["failures"]
        self.counts.update({name: told[name] for name in OUTCOMES if name in told})
        self.peak = told["peak_mib"] << 20

    def go_on(self, end: int, seconds: float, keep: Path | None) -> None:
        """Take the next files in a process of their own, for a time."""
        if not (self.place / "real").is_dir():
            self._in_child(lambda write: make(self.kind, self.place))
        before = self.next

        def turn(write: Any) -> None:
            watch()
            until = time.monotonic() + seconds
            number = before
            while number < end and (number == before or time.monotonic() < until):
                write({"begun": number})
                write({"number": number} | tried(self.kind, number, self.place))
                number += 1

        status, rows = self._in_child(turn)
        begun = None
        for row in rows:
            if "begun" in row:
                begun = row["begun"]
                continue
            begun, self.next = None, row["number"] + 1
            self.peak = max(self.peak, row["memory"])
            self.counts[row["outcome"]] += 1
            if "failure" in row:
                self._failed(row["failure"], row["number"], keep)
        if status:
            number = self.next if begun is None else begun
            name = signal.Signals(-status).name if status < 0 else f"status {status}"
            what = "more than 20 s of the processor" if name == "SIGPROF" else f"ended by {name}"
            self.counts["failed"] += 1
            self._failed(what, number, keep)
            self.next = number + 1

    def _failed(self, what: str, number: int, keep: Path | None) -> None:
        known = self.failures.setdefault(what, {"first": number, "count": 0})
        known["count"] += 1
        if keep is not None and known["count"] == 1:
            keep.mkdir(parents=True, exist_ok=True)
            path = damage(self.kind, number, self.place)
            copy = keep / f"{self.kind}-{number}-{path.name}"
            shutil.copytree(path, copy, dirs_exist_ok=True) if path.is_dir() else shutil.copy(
                path, copy
            )

    def _in_child(self, work: Any) -> tuple[int, list[dict[str, Any]]]:
        """Run in a forked process; return its status and the rows that it wrote."""
        self.place.mkdir(parents=True, exist_ok=True)
        log, told = self.place / "log.jsonl", self.place / "told"
        log.unlink(missing_ok=True)
        sys.stderr.flush()
        process = os.fork()
        if not process:
            status = 70
            try:
                file = log.open("ab", buffering=0)
                os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)  # of libraries
                work(lambda row: file.write(json.dumps(row).encode() + b"\n"))
                status = 0
            except BaseException as error:
                os.write(2, f"{self.kind}: {error!r}".encode())
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if status:
            print(told.read_text(errors="replace")[-2000:], file=sys.stderr)
        rows = log.read_text().splitlines() if log.is_file() else []
        return status, [json.loads(row) for row in rows]


def make(kind: str, place: Path) -> None:
    """Write the real files of a kind."""
    os.chdir(place)
    for name in ("damaged", "making"):
        (place / name).mkdir(parents=True, exist_ok=True)
    KINDS[kind].make(place / "making")
    (place / "making").rename(place / "real")


def watch() -> None:
    """Let this process end, with a traceback, at a hang; and refuse it absurd amounts of memory."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    faulthandler.register(signal.SIGPROF, chain=True)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 8 * MEMORY, size + 8 * MEMORY))


def tried(kind: str, number: int, place: Path) -> dict[str, Any]:
    """Return what has come of one file: outcome, memory, and the failure if it is one."""
    os.chdir(place / "damaged")
    path = damage(kind, number, place)
    before = peak_of_memory()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    found: dict[str, Any] = {}
    try:
        found["outcome"] = read(kind, number, path)
    except Exception as error:
        found |= {"outcome": "failed", "failure": result_of(error)}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    found["memory"] = max(0, peak_of_memory() - before)
    if found["memory"] > MEMORY:
        found |= {"outcome": "failed", "failure": "more than 1 GiB of memory"}
    return found


def peak_of_memory() -> int:
    """Return the resident memory's highest point so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
