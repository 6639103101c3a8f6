"""Kill sweeps of six runs twice each, go on with them, and compare with an uninterrupted sweep.

    python -m tests.faults.sweep_kills --sweeps 5 --record results/faults/sweeps.json

The first kill (SIGKILL) takes the sweep alone, so that its trials are left behind and run on; the
second takes the trials as well, as where the power fails. The command that follows is the same one.
At the end each trial's generator.safetensors must have the bytes of the uninterrupted sweep.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.faults.kills import steps_of
from tests.faults.tiny_run import STEPS, prepare

from gan_slimming.data.files import write_atomically
from gan_slimming.serialization.provenance import environment
from gan_slimming.serialization.run_folder import RunFolder

GRID = ("--seed", "0,1,2", "--budget.macs", "0.5,0.7")
RUNS = 6


def main() -> int:
    """Kill sweeps; the last line is JSON."""
    parser = argparse.ArgumentParser(description="Kill sweeps and go on with them.")
    parser.add_argument("--sweeps", type=int, default=5, help="each is killed twice (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--record", type=Path, help="file to write, .json")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="sweep-kills-"))
    try:
        found = kill_sweeps(place, options.sweeps, random.Random(options.seed))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    told = json.dumps(found | {"environment": environment()}, indent=2)
    if options.record:
        options.record.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.record, (told + "\n").encode())
    print(json.dumps(found))
    return 1 if found["wrong"] else 0


def kill_sweeps(place: Path, sweeps: int, chance: random.Random) -> dict[str, Any]:
    """Return the number of sweeps and kills, how many runs each kill met, and what was wrong."""
    words = prepare(place)[1:]
    at = words.index("--budget.macs")
    command = ["sweep", *words[:at], *words[at + 2 :], *GRID, "--workers", "2"]
    whole = place / "whole"
    began = time.monotonic()
    if started(command, whole).wait():
        raise SystemExit(f"the uninterrupted sweep failed: {said(whole)}")
    spent = time.monotonic() - began
    expected = results(whole)
    wrong, met = [], []
    for number in range(1, sweeps + 1):
        output = place / f"sweep{number}"
        for with_trials in (False, True):
            process = started(command, output)
            time.sleep(chance.uniform(0.1, 0.35) * spent)  # so that the second meets some as well
            ended = process.poll() is not None
            process.kill()
            process.wait()
            begun = len(trials_of(output))
            if with_trials:
                for trial in trials_of(output):
                    os.kill(trial, signal.SIGKILL)
            kill = {"ended": ended, "trials_running": begun, "trials_killed": with_trials}
            met.append(kill | {"runs_finished": len(results(output))})
        if started(command, output).wait():
            wrong.append(f"sweep {number}: {said(output)}")
        elif results(output) != expected:
            wrong.append(f"sweep {number}: another generator.safetensors")
        for name in expected:
            if (steps := steps_of(RunFolder(output / name))) != list(range(1, STEPS + 1)):
                wrong.append(f"sweep {number}: {name} has the steps {steps}")
        if "Traceback" in said(output):
            wrong.append(f"sweep {number}: {said(output)}")
        print(f"sweep {number} of {sweeps}, wrong: {wrong}", file=sys.stderr, flush=True)
        shutil.rmtree(output)
    return {"sweeps": sweeps, "runs_each": RUNS, "kills": met, "wrong": wrong}


def started(command: list[str], output: Path) -> subprocess.Popen[bytes]:
    """Start a sweep, whose words go to a file beside its folder."""
    with output.with_suffix(".told").open("ab") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "gan_slimming", *command, "--output", str(output)],
            stdout=told, stderr=told,
        )  # fmt: skip


def said(output: Path) -> str:
    """Return the last words of a sweep's processes and of its trials."""
    logs = [output.with_suffix(".told"), *sorted(output.glob("*.log"))]
    return " | ".join(path.read_text()[-300:] for path in logs if path.is_file())


def trials_of(output: Path) -> list[int]:
    """Return the processes whose command names a folder below the sweep's (Linux)."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        if any(word.startswith(f"{output}/") for word in words):
            found.append(int(folder.name))
    return found


def results(output: Path) -> dict[str, bytes]:
    """Return the bytes of each finished trial's generator, by the trial's name."""
    folders = [RunFolder(path) for path in sorted(output.glob("*")) if path.is_dir()]
    return {run.path.name: run.generator.read_bytes() for run in folders if run.finished}


if __name__ == "__main__":
    sys.exit(main())
