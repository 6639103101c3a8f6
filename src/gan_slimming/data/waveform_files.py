"""Waveforms as files: .wav to listen to, .npy of the exact samples; and where they go."""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gan_slimming.data.destinations import Job, checked
from gan_slimming.data.files import write_atomically
from gan_slimming.data.image_files import SUFFIXES as IMAGES
from gan_slimming.data.signal_folder import SUFFIXES
from gan_slimming.errors import UserError, system_reason

WRITTEN = (".wav", ".npy")
"""Endings of the files of a waveform; the first names it."""
_FULL = 2**15 - 1
"""The code of a sample of 1 in 16 bits."""


def plan_waveforms(inputs: Sequence[str | Path], output: Path, *, overwrite: bool) -> list[Job]:
    """Return each signal with its .wav file, whose .npy file beside it is checked as well.

    Args:
        inputs: files of signals, and folders of them at any depth; those below `output` are left
            out as earlier results.
        output: a folder, or a .wav file for a single signal.
    Raises:
        UserError: as `destinations.plan`; an input is no signal.
    """
    found: dict[str, Job] = {}
    alone = output.suffix.lower() == ".wav" and not output.is_dir()
    if alone and (len(inputs) != 1 or Path(inputs[0]).is_dir()):
        raise UserError(f"output {output} is one .wav file; name a folder for several signals")
    if not alone and output.exists() and not output.is_dir():
        raise UserError(f"output {output} is a file; name a folder, or a new .wav file")
    for given in map(Path, inputs):
        root = given if given.is_dir() else given.parent
        for path in _signals(given, output):
            target = output / path.relative_to(root).with_suffix(".wav")
            found.setdefault(os.path.abspath(path), Job(path, output if alone else target))
    if not found:
        raise UserError(
            f"no signals in {', '.join(map(str, inputs))}; the generator takes .npy or "
            ".safetensors of shape (channels, length)"
        )
    jobs = list(found.values())
    files = [Job(job.source, file) for job in jobs for file in _files(job.target)]
    checked(files, overwrite=overwrite)
    return jobs


def hold_signals(inputs: Sequence[str | Path]) -> bool:
    """Return whether any input is a file of a signal, or a folder that holds one."""
    return any(
        path.suffix.lower() in SUFFIXES
        for given in map(Path, inputs)
        for path in (given.rglob("*") if given.is_dir() else [given])
    )


def _signals(given: Path, output: Path) -> list[Path]:
    """Return one input's files of signals."""
    if given.is_dir():
        inside = output.resolve()
        files = sorted(p for p in given.rglob("*") if p.suffix.lower() in SUFFIXES)
        own = inside != given.resolve()
        return [p for p in files if not (own and p.resolve().is_relative_to(inside))]
    if not given.exists():
        raise UserError(f"{given} does not exist; give signals (.npy or .safetensors)")
    if given.suffix.lower() not in SUFFIXES:
        kind = "an image" if given.suffix.lower() in IMAGES else "no signal"
        raise UserError(
            f"{given} is {kind}; the generator makes waveforms of signals (.npy or .safetensors)"
        )
    return [given]


def _files(target: Path) -> tuple[Path, Path]:
    """Return the .wav file, and that of the exact samples beside it."""
    return target, target.with_suffix(WRITTEN[1])


def write_waveform(target: Path, samples: np.ndarray, rate: int) -> None:
    """Write a waveform twice: as .wav in 16 bits, and as .npy of float32; create folders as needed.

    Args:
        target: the .wav file.
        samples: (channels, length) in [-1, 1]; what exceeds that is clipped in the .wav file.
        rate: samples a second.
    Raises:
        UserError: a file cannot be written.
    """
    codes = np.rint(np.clip(samples.T, -1, 1) * _FULL).astype("<i2")
    heard, exact = io.BytesIO(), io.BytesIO()
    with wave.open(heard, "wb") as file:
        file.setnchannels(codes.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(codes.tobytes())
    np.save(exact, samples.astype(np.float32))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for file, content in zip(_files(target), (heard, exact), strict=True):
            write_atomically(file, content.getvalue())
    except OSError as error:
        raise UserError(f"{target} cannot be written ({system_reason(error)})") from error
