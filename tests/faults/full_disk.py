"""Run compress on disks that are too small, make room, and go on: only unsaved steps are lost.

    sudo .venv/bin/python -m tests.faults.full_disk --sizes 60

Each disk (a tmpfs, which needs root on Linux) is larger than the one before, so that another write
is the first that finds no room, up to one on which the whole run fits. The run must end with its
result or with one line. Then the disk grows, and the command that a user would type must lead to
the bytes of a run that never lacked room.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.faults.kills import ended, way_on
from tests.faults.tiny_run import forked, prepare, warm_up

from gan_slimming.serialization.run_folder import RunFolder

ROOM = "64m"
PAGE = 4096


def main() -> int:
    """Try all sizes; the last line is JSON."""
    parser = argparse.ArgumentParser(description="Run compress on disks that are too small.")
    parser.add_argument("--sizes", type=int, default=60, help="number of disks (default: 60)")
    parser.add_argument("--scratch", type=Path, help="folder for the disks (default: temporary)")
    options = parser.parse_args()
    warm_up()
    place = Path(tempfile.mkdtemp(prefix="full-", dir=options.scratch))
    try:
        found = try_sizes(prepare(place), place, options.sizes)
    finally:
        shutil.rmtree(place)
    print(json.dumps(found))
    return 1 if found["wrong"] else 0


def try_sizes(command: list[str], place: Path, sizes: int) -> dict:
    """Return the number of disks, how runs ended on them, and what was wrong."""
    whole = RunFolder(place / "whole")
    if status := ended(forked([*command, "--output", str(whole)], place / "told")):
        raise SystemExit(f"on a large disk the run ended with {status}")
    expected = whole.generator.read_bytes()
    most = sum(path.stat().st_size + PAGE for path in whole.path.rglob("*")) * 3 // 2
    shutil.rmtree(whole.path)
    disk, wrong, statuses = place / "disk", [], []
    disk.mkdir()
    for number in range(sizes):
        size = PAGE * (2 + number * most // (PAGE * sizes))
        mount(disk, "-t", "tmpfs", "-o", f"size={size}", "none")
        try:
            status, problem = one(command, RunFolder(disk / "run"), place / "told", expected)
        finally:
            subprocess.run(["umount", disk], check=True)
        statuses.append(status)
        wrong += [f"{size} bytes: {problem}"] if problem else []
        print(f"{size:,} bytes: status {status} {problem}", file=sys.stderr, flush=True)
    ends = {status: statuses.count(status) for status in sorted(set(statuses))}
    return {"disks": sizes, "largest_bytes": most, "statuses": ends, "wrong": wrong}


def one(command: list[str], folder: RunFolder, told: Path, expected: bytes) -> tuple[int, str]:
    """Return the status on the small disk, and what was wrong there or afterwards; '' for nothing.

    Args:
        told: file for what the commands print.
        expected: generator.safetensors of a run with room.
    """
    status = ended(forked([*command, "--output", str(folder)], told))
    text = told.read_text()
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    if "Traceback" in text or status not in (0, 2) or len(errors) != (status == 2):
        return status, f"not one line: {text[-400:]}"
    mount(folder.path.parent, "-o", f"remount,size={ROOM}")
    if status == 0 and folder.finished:
        return status, "" if folder.generator.read_bytes() == expected else "another result"
    arguments = [*command, "--output", str(folder)]
    after = ended(forked(way_on(folder, arguments) if folder.path.exists() else arguments, told))
    if after:
        return status, f"going on ended with {after}: {told.read_text()[-400:]} (before: {errors})"
    return status, "" if folder.generator.read_bytes() == expected else "another result"


def mount(disk: Path, *words: str) -> None:
    """Mount or change a disk; end where this is not allowed."""
    if subprocess.run(["mount", *words, disk], check=False).returncode:
        raise SystemExit("a small disk cannot be mounted here: it needs root, on Linux")


if __name__ == "__main__":
    sys.exit(main())
