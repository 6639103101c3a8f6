"""Kill runs at random moments, resume them, and compare their results with an uninterrupted one.

    python -m tests.faults.kills --kills 300
    python -m tests.faults.kills --kills 50 --processes 2

Each run is killed (SIGKILL) once or more, at a moment between its start and its usual end. The
command that follows is what a user would type: --resume, or --overwrite where nothing was saved
yet. At the end generator.safetensors must have the bytes of the uninterrupted run. Of several
processes that train together one is killed, and the others are told to stop, as by torchrun.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.faults.tiny_run import STEPS, forked, prepare, warm_up

from gan_slimming.serialization.run_folder import RunFolder


def main() -> int:
    """Kill until the count is reached; the last line is JSON."""
    parser = argparse.ArgumentParser(description="Kill runs of compress and resume them.")
    parser.add_argument("--kills", type=int, default=300, help="SIGKILLs in all (default: 300)")
    parser.add_argument("--processes", type=int, default=1, help="of each run (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--scratch", type=Path, help="folder for the runs (default: temporary)")
    options = parser.parse_args()
    warm_up()
    place = Path(tempfile.mkdtemp(prefix="kills-", dir=options.scratch))
    try:
        command = [*prepare(place), "--batch-size", str(options.processes)]
        chance = random.Random(options.seed)
        found = kill_runs(command, place, options.kills, options.processes, chance)
    finally:
        shutil.rmtree(place)
    print(json.dumps(found))
    return 1 if found["wrong"] else 0


def kill_runs(
    command: list[str], place: Path, kills: int, processes: int, chance: random.Random
) -> dict:
    """Return the number of kills, of runs, and what was wrong."""
    whole, spent = place / "whole", 0.0
    for _ in range(2):  # the second is as quick as those that follow
        shutil.rmtree(whole, ignore_errors=True)
        began = time.monotonic()
        if any(ends(started([*command, "--output", str(whole)], place, processes))):
            raise SystemExit(f"the uninterrupted run failed: {said(place)}")
        spent = time.monotonic() - began
    expected = RunFolder(whole).generator.read_bytes()
    done, runs, wrong, at = 0, 0, [], []
    while done < kills:
        runs += 1
        folder = RunFolder(place / f"run{runs}")
        while not folder.finished:
            arguments = [*command, "--output", str(folder)]
            if folder.path.exists():
                arguments = way_on(folder, arguments)
            group = started(arguments, place, processes)
            if done < kills:
                kill_one(group, chance.uniform(0, spent), chance)
            statuses = ends(group)
            if -signal.SIGKILL in statuses:
                done += 1
                at.append(last_step(folder))
            elif any(statuses):
                wrong.append(f"run {runs}: {statuses}: {said(place)}")
                break
            if "Traceback" in said(place):
                wrong.append(f"run {runs}: {said(place)}")
        if folder.finished and folder.generator.read_bytes() != expected:
            wrong.append(f"run {runs}: another generator.safetensors")
        if folder.finished and steps_of(folder) != list(range(1, STEPS + 1)):
            wrong.append(f"run {runs}: steps {steps_of(folder)}")
        if runs % 10 == 0:
            print(f"{done} kills, {runs} runs, wrong: {wrong}", file=sys.stderr)
        shutil.rmtree(folder.path, ignore_errors=True)
    after = {step: at.count(step) for step in sorted(set(at))}
    return {"kills": done, "runs": runs, "wrong": wrong, "kills_after_step": after}


def started(arguments: list[str], place: Path, processes: int) -> list[int]:
    """Start the command in processes that train together; return their ids."""
    if processes == 1:
        return [forked(arguments, place / "told0")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = []
    for rank in range(processes):
        # As torchrun tells them.
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes}
        told |= {"LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        names = {name: str(value) for name, value in told.items()}
        group.append(forked(arguments, place / f"told{rank}", partial(os.environ.update, names)))
    return group


def said(place: Path) -> str:
    """Return the last words of each process of the last command."""
    return " | ".join(path.read_text()[-300:] for path in sorted(place.glob("told*")))


def way_on(folder: RunFolder, arguments: list[str]) -> list[str]:
    """Return the command that goes on with a killed run."""
    if folder.config.is_file() and (folder.checkpoint.is_file() or folder.previous.is_file()):
        return ["compress", "--resume", "--output", str(folder)]
    return [*arguments, "--overwrite"] if folder.marked else arguments


def kill_one(group: list[int], seconds: float, chance: random.Random) -> None:
    """Wait, then kill one of the processes and tell the others to stop.

    Nothing is killed where the first has ended by itself, for its status is kept.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, group[0], os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)
    victim = chance.choice(group)
    os.kill(victim, signal.SIGKILL)  # without effect on one that ended just now
    for other in group:
        if other != victim:
            os.kill(other, signal.SIGTERM)


def ends(group: list[int]) -> list[int]:
    """Wait for all processes; return their statuses, negative for a signal."""
    return [ended(process) for process in group]


def ended(process: int) -> int:
    """Wait for a process; return its status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def last_step(folder: RunFolder) -> int:
    """Return the last step in the log; 0 before the first, -1 before the folder."""
    if not folder.path.exists():
        return -1
    return max(steps_of(folder), default=0)


def steps_of(folder: RunFolder) -> list[int]:
    """Return the steps in the log."""
    if not folder.metrics.is_file():
        return []
    lines = folder.metrics.read_text().splitlines(keepends=True)
    return [s for line in lines if line.endswith("\n") and (s := json.loads(line)["step"])]


if __name__ == "__main__":
    sys.exit(main())
