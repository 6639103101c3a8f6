"""Kill runs at random moments, resume them, and compare their results with an uninterrupted one.

    python -m tests.faults.kills --kills 300

Each run is killed (SIGKILL) once or more, at a moment between its start and its usual end. The
command that follows is what a user would type: --resume, or --overwrite where nothing was saved
yet. At the end generator.safetensors must have the bytes of the uninterrupted run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.tiny_run import STEPS, forked, prepare, warm_up

from gan_slimming.serialization.run_folder import RunFolder


def main() -> int:
    """Kill until the count is reached; the last line is JSON."""
    parser = argparse.ArgumentParser(description="Kill runs of compress and resume them.")
    parser.add_argument("--kills", type=int, default=300, help="SIGKILLs in all (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--scratch", type=Path, help="folder for the runs (default: temporary)")
    options = parser.parse_args()
    warm_up()
    place = Path(tempfile.mkdtemp(prefix="kills-", dir=options.scratch))
    try:
        found = kill_runs(prepare(place), place, options.kills, random.Random(options.seed))
    finally:
        shutil.rmtree(place)
    print(json.dumps(found))
    return 1 if found["wrong"] else 0


def kill_runs(command: list[str], place: Path, kills: int, chance: random.Random) -> dict:
    """Return the number of kills, of runs, and what was wrong."""
    whole, spent = place / "whole", 0.0
    for _ in range(2):  # the second is as quick as those that follow
        shutil.rmtree(whole, ignore_errors=True)
        began = time.monotonic()
        if status := ended(forked([*command, "--output", str(whole)], place / "told")):
            told = (place / "told").read_text()
            raise SystemExit(f"the uninterrupted run ended with {status}: {told[-500:]}")
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
            process = forked(arguments, place / "told")
            if done < kills:
                kill(process, chance.uniform(0, spent))
            status = ended(process)
            if status == -signal.SIGKILL:
                done += 1
                at.append(last_step(folder))
            elif status != 0:
                wrong.append(f"run {runs}: status {status}: {(place / 'told').read_text()[-300:]}")
                break
        if folder.finished and folder.generator.read_bytes() != expected:
            wrong.append(f"run {runs}: another generator.safetensors")
        if folder.finished and steps_of(folder) != list(range(1, STEPS + 1)):
            wrong.append(f"run {runs}: steps {steps_of(folder)}")
        if runs % 10 == 0:
            print(f"{done} kills, {runs} runs, wrong: {wrong}", file=sys.stderr)
        shutil.rmtree(folder.path, ignore_errors=True)
    after = {step: at.count(step) for step in sorted(set(at))}
    return {"kills": done, "runs": runs, "wrong": wrong, "kills_after_step": after}


def way_on(folder: RunFolder, arguments: list[str]) -> list[str]:
    """Return the command that goes on with a killed run."""
    if folder.config.is_file() and (folder.checkpoint.is_file() or folder.previous.is_file()):
        return ["compress", "--resume", "--output", str(folder)]
    return [*arguments, "--overwrite"] if folder.marked else arguments


def kill(process: int, seconds: float) -> None:
    """Wait, then kill, unless the process has ended by itself; its status is kept."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.001)
    os.kill(process, signal.SIGKILL)  # without effect on one that ended just now


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
