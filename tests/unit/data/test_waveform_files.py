"""Waveforms are written whole, at the right rate, and never over an input."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from gan_slimming.data.waveform_files import plan_waveforms, write_waveform
from gan_slimming.errors import UserError


def test_both_files_hold_the_samples(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "voice.wav"
    samples = np.array([[0.0, 0.5, -1.0, 3.0], [1.0, -0.5, 0.25, -9.0]], np.float32)
    write_waveform(target, samples, 16_000)
    np.testing.assert_array_equal(np.load(target.with_suffix(".npy")), samples)
    with wave.open(str(target)) as file:
        told = (file.getframerate(), file.getnchannels(), file.getnframes())
        codes = np.frombuffer(file.readframes(4), "<i2").reshape(4, 2).T
    assert told == (16_000, 2, 4)
    np.testing.assert_array_equal(codes, [[0, 16384, -32767, 32767], [32767, -16384, 8192, -32767]])


def test_results_keep_names_and_folders(tmp_path: Path) -> None:
    for name in ("mels/a.npy", "mels/deep/b.safetensors", "mels/out/a.npy", "mels/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    mels, out = tmp_path / "mels", tmp_path / "mels" / "out"
    with pytest.raises(UserError, match="exists already; replace with --overwrite"):
        plan_waveforms([mels], out, overwrite=False)
    found = plan_waveforms([mels, mels / "a.npy"], out, overwrite=True)
    assert [job.source.name for job in found] == ["a.npy", "b.safetensors"]
    assert [job.target.relative_to(out).as_posix() for job in found] == ["a.wav", "deep/b.wav"]
    with pytest.raises(UserError, match="is an input and would be overwritten"):
        plan_waveforms([mels / "a.npy"], mels, overwrite=True)
    (tmp_path / "mels" / "a.safetensors").touch()
    with pytest.raises(UserError, match=r"would both become .*a\.wav"):
        plan_waveforms([mels], tmp_path / "new", overwrite=False)
