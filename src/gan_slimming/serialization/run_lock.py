"""One run, one owner: the lock of a run folder.

The operating system holds the lock, and frees it when the process dies. Where a network drive has
no such locks, the file itself is the lock: it names its owner, who touches it now and then.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan_slimming.errors import UserError

STALE_SECONDS = 900.0
"""Age after which an untouched lock of another machine counts as left behind."""
TOUCH_SECONDS = 60.0
"""Least time between two touches by the owner."""
BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""Errors that say that another process holds a lock; all others say that there are no locks."""
WINDOWS_OFFSET = 4096
"""Byte that is locked on Windows, behind the text, which others may then still read."""


class RunLock:
    """A lock that one process at a time holds.

    Args:
        path: the lock's file; it is there while the lock is held, and after a crash.
    """

    def __init__(self, path: Path):
        self.path = path
        self._touched = 0.0
        self._mine = False

    @contextmanager
    def held(self, what: str) -> Iterator[None]:
        """Hold the lock.

        Args:
            what: the thing that is locked, for the error.
        Raises:
            UserError: another process holds it.
            OSError: the file cannot be made.
        """
        descriptor = self._take(what)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(_owner()).encode())
            self.touch()
            self._mine = True
            yield
        finally:
            self._mine = False
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                self.path.unlink()
            os.close(descriptor)

    def touch(self) -> None:
        """Show that the owner is alive, for machines that cannot see its process."""
        if time.monotonic() - self._touched > TOUCH_SECONDS:
            self._touched = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def check(self, what: str) -> None:
        """Raise UserError while another owner holds the lock."""
        if self.path.is_file() and not self._mine:
            with contextlib.suppress(OSError):
                os.close(self._take(what))

    def _take(self, what: str) -> int:
        """Return the descriptor of the locked file; raise UserError if another process has it."""
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if self._locked(descriptor):
                    if self._is_at_its_place(descriptor):
                        return descriptor
                    os.close(descriptor)  # its last owner has just removed it
                    continue
                owner = _read(descriptor)
            except OSError:
                os.close(descriptor)
                raise
            os.close(descriptor)
            raise UserError(
                f"{what} belongs to another run, {_named(owner)}, which is still going on; wait "
                "for it, stop it, or name another --output"
            )

    def _locked(self, descriptor: int) -> bool:
        """Lock an open file; return whether this process has it now."""
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in BUSY:
                return False
            return not self._is_alive(_read(descriptor))
        return True

    def _is_alive(self, owner: dict[str, Any]) -> bool:
        """Return whether the owner written in a file is at work, where the system has no locks."""
        if owner.get("host") == socket.gethostname():
            return owner.get("process") != os.getpid() and _runs(owner.get("process"))
        age = time.time() - self.path.stat().st_mtime
        return bool(owner) and age < STALE_SECONDS

    def _is_at_its_place(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False


def _lock(descriptor: int) -> None:
    """Lock an open file without waiting; raise OSError where it is locked, or cannot be."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, WINDOWS_OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _owner() -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"process": os.getpid(), "host": socket.gethostname(), "since": since}


def _read(descriptor: int) -> dict[str, Any]:
    """Return what a lock says of its owner; {} for one that says nothing."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        told = json.loads(os.read(descriptor, 1024) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _named(owner: dict[str, Any]) -> str:
    if not owner:
        return "of an unknown process"
    return f"process {owner.get('process')} on {owner.get('host')} since {owner.get('since')}"


def _runs(process: Any) -> bool:
    """Return whether a process of this machine exists."""
    if not isinstance(process, int) or process <= 0:
        return False
    if sys.platform == "win32":  # where os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
