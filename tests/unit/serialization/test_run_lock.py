"""The lock of a run folder: one owner, freed by its death, on drives without locks as well."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gan_slimming.errors import UserError
from gan_slimming.serialization import run_lock as module
from gan_slimming.serialization.run_lock import RunLock

HOLD = """
import sys, time
from pathlib import Path
from gan_slimming.serialization.run_lock import RunLock
with RunLock(Path(sys.argv[1])).held("x"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_owner_frees_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        with pytest.raises(UserError, match=f"runs/a belongs to .* process {owner.pid} on"):
            RunLock(path).check("runs/a")
        owner.kill()
    assert path.exists()
    with RunLock(path).held("runs/a"):
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert not path.exists()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drive without locks."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module, "_lock", refuse)


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize(
    ("owner", "age", "alive"),
    [
        ({"process": 1}, 0, True),
        ({"process": 2**22 + 1}, 0, False),
        ({"process": 10**30}, 0, False),
        ({"process": "1"}, 0, False),
        ({"process": 1, "host": "elsewhere"}, 60, True),
        ({"process": 1, "host": "elsewhere"}, 2 * module.STALE_SECONDS, False),
        (None, 0, False),
    ],
)
def test_on_drives_without_locks_the_owner_is_asked_for(
    tmp_path: Path, owner: dict[str, Any] | None, age: float, alive: bool
) -> None:
    path = tmp_path / ".lock"
    text = "" if owner is None else json.dumps({"host": socket.gethostname(), **owner})
    path.write_text(text)
    then = time.time() - age
    os.utime(path, (then, then))
    if alive:
        with pytest.raises(UserError, match="belongs to another run"):
            RunLock(path).check("x")
    else:
        RunLock(path).check("x")
        with RunLock(path).held("x"):
            assert path.exists()


def test_the_owner_shows_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = RunLock(tmp_path / ".lock")
    with lock.held("x"):
        os.utime(lock.path, (5, 5))
        lock.touch()
        assert lock.path.stat().st_mtime == 5
        monkeypatch.setattr(module, "TOUCH_SECONDS", -1.0)
        lock.touch()
        assert lock.path.stat().st_mtime > 5
