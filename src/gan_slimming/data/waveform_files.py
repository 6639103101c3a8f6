"""Waveforms as files: .wav to listen to, .npy of the exact samples; and where they go."""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gan_slimming.data.destinations import Job, checked
from gan_slimming.data.files import write_atomically
from gan_slimming.data.image_files import SUFFIXES as IMAGES
from gan_slimming.data.signal_folder import SUFFIXES
from gan_slimming.errors import UserError, system_reason

_FULL = 2**15 - 1
"""The code of a sample of 1 in 16 bits."""


@dataclass(frozen=True)
class Waveform:
    """The input and output files of one waveform."""

    source: Path
    wav: Path

    @property
    def samples(self) -> Path:
        """The .npy file beside the .wav file."""
        return self.wav.with_suffix(".npy")


def plan_waveforms(
    inputs: Sequence[str | Path], output: Path, *, overwrite: bool
) -> list[Waveform]:
    """Return the output files of each signal, checked before any work.

    Args:
        inputs: files of signals, and folders of them at any depth; those below `output` are left
            out as earlier results.
        output: a folder, or a .wav file for a single signal.
    Raises:
        UserError: as `destinations.plan`; an input is no signal.
    """
    found: dict[str, Waveform] = {}
    alone = output.suffix.lower() == ".wav" and not output.is_dir()
    if alone and (len(inputs) != 1 or Path(inputs[0]).is_dir()):
        raise UserError(f"output {output} is one .wav file; name a folder for several signals")
    if not alone and output.exists() and not output.is_dir():
        raise UserError(f"output {output} is a file; name a folder, or a new .wav file")
    for given in map(Path, inputs):
        root = given if given.is_dir() else given.parent
        for path in _signals(given, output):
            target = output / path.relative_to(root).with_suffix(".wav")
            found.setdefault(os.path.abspath(path), Waveform(path, output if alone else target))
    if not found:
        raise UserError(
            f"no signals in {', '.join(map(str, inputs))}; the generator takes .npy or "
            ".safetensors of shape (channels, length)"
        )
    made = list(found.values())
    targets = ((w.source, path) for w in made for path in (w.wav, w.samples))
    checked([Job(source, path) for source, path in targets], overwrite=overwrite)
    return made


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


def write_waveform(target: Waveform, samples: np.ndarray, rate: int) -> None:
    """Write a waveform twice: as .wav in 16 bits, and as .npy of float32; create folders as needed.

    Args:
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
        target.wav.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target.wav, heard.getvalue())
        write_atomically(target.samples, exact.getvalue())
    except OSError as error:
        raise UserError(f"{target.wav} cannot be written ({system_reason(error)})") from error
