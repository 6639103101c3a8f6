"""The file of a checkpoint: the state of a run, sealed with a digest and the run's identity.

It is a file of torch.save. Beside the state it holds one entry, `seal`.
"""

from __future__ import annotations

import copy
import errno
import hashlib
import os
import shutil
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from gan_slimming.data.files import draft_of, flush
from gan_slimming.data.torch_files import load_tensors
from gan_slimming.errors import UserError, one_line

SEAL = "seal"
FORMAT = 1
SPACE = 1 << 22
"""Bytes: a disk with less room is full, if torch fails to write."""
FREE = (
    *("threads", "compile", "checkpoint_seconds", "workers"),
    *("memory.images", "memory.answers", "memory.answers_on"),
)
"""Settings that may differ between a checkpoint and its run: they change no result."""
_CHANGED = "its content is not what was saved"


@dataclass(frozen=True)
class RunIdentity:
    """What a checkpoint must share with the run that goes on from it."""

    settings: dict[str, Any]
    """`dataclasses.asdict` of the settings."""
    teacher: str
    """SHA-256 of the teacher's tensors."""
    start: str
    """SHA-256 of the tensors that the student started from."""
    images: str
    """SHA-256 of the list of images."""

    def difference(self, other: Mapping[str, Any]) -> str | None:
        """Return the first difference from a saved identity; None if there is none."""
        ours, theirs = _flat(self.settings), _flat(other.get("settings", {}))
        for name in ours.keys() & theirs.keys():  # a newer version may know more settings
            if name not in FREE and _listed(ours[name]) != _listed(theirs[name]):
                return f"{name} {theirs[name]}, where the run has {ours[name]}"
        for name in ("teacher", "start", "images"):
            if other.get(name) != getattr(self, name):
                return {"start": "another starting student"}.get(name, f"other {name}")
        return None


def write_checkpoint(
    path: Path, state: dict[str, Any], identity: RunIdentity | None, *, previous: Path
) -> None:
    """Write a checkpoint, its tensors on the CPU, completely or not at all; keep the one before.

    Raises:
        OSError: the disk refuses; an old file stays as it is.
    """
    state = _on_cpu(state)
    run = None if identity is None else asdict(identity)
    seal = {"format": FORMAT, "run": run, "sha256": digest_of([state, run])}
    with draft_of(path) as draft:
        try:
            torch.save({**state, SEAL: seal}, draft)
        except RuntimeError as error:  # torch's writer does not say what the system said
            full = shutil.disk_usage(path.parent).free < SPACE
            code = errno.ENOSPC if full else errno.EIO
            raise OSError(code, os.strerror(code)) from error
        flush(draft)  # on disk before the old one makes room
        if path.is_file():
            path.replace(previous)


def read_checkpoint(path: Path, identity: RunIdentity | None, *, sealed: bool) -> dict[str, Any]:
    """Return the state in a checkpoint.

    Args:
        identity: of the run that goes on; None takes a checkpoint of any run.
        sealed: whether one without a seal is refused; version 0.1 wrote none.
    Raises:
        UserError: it is damaged, changed, or of another run.
    """
    try:
        state = load_tensors(path)
    except UnpicklingError as error:  # its text advises to switch the protection off
        raise _refused(path, "it is no checkpoint") from error
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        raise _refused(path, one_line(error)[:150]) from error
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise _refused(path, "it holds no state of a run")
    seal = state.pop(SEAL, None)
    if seal is None and not sealed:
        return state
    run = seal.get("run") if isinstance(seal, dict) else None
    if not isinstance(seal, dict) or seal.get("sha256") != digest_of([state, run]):
        raise _refused(path, _CHANGED)
    if identity is not None and isinstance(run, dict) and (other := identity.difference(run)):
        raise UserError(f"{path} is of another run: {other}")
    return state


def digest_of(value: Any) -> str:
    """Return the SHA-256 of nested dicts, lists, tensors, numbers and texts."""
    digest = hashlib.sha256()
    _update(digest, value)
    return digest.hexdigest()


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        digest.update(f"tensor {plain.dtype} {tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        digest.update(f"dict {len(value)}".encode())
        for key, item in value.items():
            _update(digest, key)
            _update(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)}".encode())
        for item in value:
            _update(digest, item)
    elif isinstance(value, float):
        digest.update(b"float" + struct.pack("<d", value))
    else:
        digest.update(f"{type(value).__name__} {value!r}".encode())


def _refused(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged: {reason}")


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested settings under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inside = isinstance(value, Mapping)
        flat |= _flat(value, f"{above}{name}.") if inside else {above + name: value}
    return flat


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        made = copy.copy(value)  # with the attributes that a state_dict has
        made.update((key, _on_cpu(item)) for key, item in value.items())
        return made
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(item) for item in value)
    return value
