"""Downloads that are checked by SHA-256, go on where they were cut, and end in one clear line."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

from gan_slimming.errors import UserError

try:
    import fcntl
except ImportError:  # absent on Windows, where two processes must not download at once
    fcntl = None

Progress = Callable[[int, int | None], None]
"""Called with the bytes received so far and the bytes of the whole file (None: unknown)."""

CHUNK_BYTES = 1 << 20


def download(
    url: str,
    destination: Path,
    sha256: str,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> None:
    """Download `url` to `destination` and check its SHA-256.

    An interrupted download stays in `destination`.part, and the next call continues it. One process
    at a time downloads a file; others wait and use it.

    Args:
        sha256: at least the first eight hexadecimal digits.
        timeout: seconds without a byte.

    Raises:
        UserError: the server cannot be reached, refuses, or sends other bytes.
    """
    if not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise UserError(f"sha256 must be 8 to 64 hexadecimal digits in lower case, got {sha256!r}")
    with _locked(destination):
        if destination.is_file() and file_sha256(destination).startswith(sha256):
            return
        part = destination.with_name(destination.name + ".part")
        try:
            _receive(url, part, timeout, progress)
        except urllib.error.HTTPError as error:
            raise UserError(
                f"cannot download {url}: the server answered {error.code} {error.reason}; "
                f"get the file elsewhere and put it at {destination}"
            ) from error
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise UserError(
                f"cannot download {url} ({reason}); run again when online to go on from there, "
                f"or put the file at {destination}"
            ) from error
        _check_and_place(url, part, destination, sha256)


def _receive(url: str, part: Path, timeout: float, progress: Progress | None) -> None:
    """Append the rest of `url` to `part`, or start again if the server cannot resume."""
    done = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "gan-slimming"} | ({"Range": f"bytes={done}-"} if done else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if not (done and error.code == 416):
            raise
        return  # `part` is complete, or fails the checksum
    with response:
        resumed = response.status == 206
        done = done if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def _check_and_place(url: str, part: Path, destination: Path, sha256: str) -> None:
    digest = file_sha256(part)
    if not digest.startswith(sha256):
        part.unlink()
        raise UserError(
            f"{url} gave other bytes than expected: SHA-256 {digest[: len(sha256)]}, expected "
            f"{sha256}; they were deleted, run again or put the right file at {destination}"
        )
    os.replace(part, destination)


@contextlib.contextmanager
def _locked(destination: Path) -> Iterator[None]:
    """Hold `destination`.lock, so that two processes never write one part file."""
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        lock = destination.with_name(destination.name + ".lock").open("w")
    except OSError as error:
        raise UserError(
            f"cannot write to {destination.parent} ({error.strerror}); "
            f"set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    with lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
