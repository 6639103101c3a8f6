"""One trial of a sweep: a process of compress, begun, resumed or tried again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gan_slimming.errors import UserError
from gan_slimming.serialization.run_folder import RunFolder

TRIES = 2
"""Times that a trial is started."""
POLL = 0.2
"""Seconds between two looks at a trial's process."""
INTERRUPTED = 130
"""Exit status of a run that was stopped and is saved."""


class Stopped(Exception):
    """A stop before the trial's end; what was begun is saved."""


@dataclass(frozen=True)
class Trial:
    """One point of the grid."""

    name: str
    flags: tuple[str, ...]
    """Flags of compress, without --output."""
    folder: Path
    """The run folder."""
    cwd: Path | None = None
    """Folder that paths among the flags are relative to; None for the present one."""

    @property
    def log(self) -> Path:
        """The file of what its processes say."""
        return self.folder.with_name(f"{self.name}.log")

    def resolved(self) -> Trial:
        """Return the trial as another process finds it."""
        return replace(self, folder=self.folder.resolve(), cwd=Path.cwd())

    def command(self) -> list[str]:
        """Return the command that begins the trial, or goes on with it."""
        folder = RunFolder(self.folder)
        way = []
        if folder.is_unfinished:
            way = ["--resume"]
        elif folder.marked:  # killed before its first checkpoint
            way = ["--overwrite"]
        program = [sys.executable, "-m", "gan_slimming", "compress"]
        return [*program, *self.flags, "--output", str(self.folder), *way]


def run_trial(
    trial: Trial, environment: Mapping[str, str], stopped: Callable[[], bool] | None
) -> str | None:
    """Run a trial to its end, and once more if it fails; return its error, None for success.

    Args:
        environment: what its process gets besides this one's variables.
        stopped: whether to stop it; None where only an interruption of this process does.
    Raises:
        Stopped: it was stopped.
    """
    error = None
    for _ in range(TRIES):
        _wait_for_owner(trial, stopped)
        if RunFolder(trial.folder).finished:
            return None
        status = _run(trial, environment, stopped)
        if status == 0:
            return None
        error = _last_line(trial.log) or f"it ended with status {status}"
        if status == INTERRUPTED:
            raise Stopped(error)
    return error


def _run(trial: Trial, environment: Mapping[str, str], stopped: Callable[[], bool] | None) -> int:
    """Run one process of a trial, its output in the log; return its exit status."""
    with trial.log.open("ab") as log:
        process = subprocess.Popen(
            trial.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            env=os.environ | environment, cwd=trial.cwd,
            start_new_session=True,  # Ctrl-C is for the sweep, which passes it on once
        )  # fmt: skip
    asked = False
    try:
        while process.poll() is None:
            if not asked and stopped is not None and stopped():
                asked = True
                process.send_signal(signal.SIGTERM)
            time.sleep(POLL)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
    if asked:
        raise Stopped("stopped with the sweep")
    return process.returncode


def _wait_for_owner(trial: Trial, stopped: Callable[[], bool] | None) -> None:
    """Wait while a process that an earlier sweep left behind still has the folder."""
    while trial.folder.is_dir():
        try:
            RunFolder(trial.folder).lock.check(str(trial.folder))
            return
        except UserError:
            if stopped is not None and stopped():
                raise Stopped("stopped with the sweep") from None
            time.sleep(POLL)


def _last_line(log: Path) -> str:
    """Return the last line of a log, without its 'error:'."""
    lines = log.read_text("utf-8", "replace").split("\n")
    return next((line.removeprefix("error: ") for line in reversed(lines) if line.strip()), "")
