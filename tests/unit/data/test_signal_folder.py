"""A folder of signals gives windows of one length; what is no signal is told in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from gan_slimming.config import ExtraInput, InputContract, Run
from gan_slimming.data.signal_folder import SignalFolder
from gan_slimming.data.training_data import open_training_data
from gan_slimming.errors import UserError

CONTRACT = InputContract(channels=3, scale=4, signal=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Signals of 3 channels and 10, 25, 40 and 7 frames; frame n of file f is 100 f + n."""
    (tmp_path / "in").mkdir()
    for number, (name, frames) in enumerate((("a", 10), ("b", 25), ("in/c", 40), ("in/d", 7))):
        values = np.tile(100 * number + np.arange(frames, dtype=np.float64), (3, 1))
        if name == "b":
            save_file({"mel": values.astype(np.float32)[None]}, tmp_path / f"{name}.safetensors")
        else:
            np.save(tmp_path / f"{name}.npy", values)
    return tmp_path


def test_windows_lie_one_behind_the_other(folder: Path) -> None:
    found = SignalFolder(folder, 3, 10)
    assert len(found) == 1 + 2 + 4
    assert found.names == ("a", "b", "b", *["in/c"] * 4)
    starts = [float(found[index][0, 0]) for index in range(len(found))]
    assert starts == [0, 100, 110, 200, 210, 220, 230]
    assert found[4].shape == (3, 10)
    assert found[4].dtype == np.float32
    assert found.siblings(2) == [1, 2]


def test_signals_are_taken_whole_without_a_length(folder: Path) -> None:
    found = SignalFolder(folder, 3, None)
    assert [found[index].shape[1] for index in range(len(found))] == [10, 25, 40, 7]


def test_training_keeps_the_windows_of_a_file_together(folder: Path) -> None:
    run = Run(size=32, holdout=1)
    for number in range(6):
        np.save(folder / f"long{number}.npy", np.random.rand(3, 64))
    source = SignalFolder(folder, 3, 32)
    opened = open_training_data(CONTRACT, run, 128, source, None)
    names = [{source.names[int(row)] for row in side.rows} for side in (opened.inputs, opened.held)]  # pyright: ignore
    assert not names[0] & names[1]
    assert len(opened.inputs) + len(opened.held) == len(source)
    (batch,) = opened.held.batch(torch.arange(1), torch.zeros(1, dtype=torch.int64))
    assert batch.shape == (1, 3, 32)


def test_a_speaker_is_drawn_beside_a_signal_of_a_folder(folder: Path) -> None:
    from dataclasses import replace

    contract = replace(CONTRACT, extras=(ExtraInput("class", 4),))
    for number in range(3):
        np.save(folder / f"long{number}.npy", np.random.rand(3, 64))
    source = SignalFolder(folder, 3, 32)
    opened = open_training_data(contract, Run(size=32), 128, source, None)
    indices = torch.arange(2)
    mel, speaker = opened.inputs.batch(indices, torch.zeros_like(indices))
    assert mel.shape == (2, 3, 32)
    assert speaker.shape == (2,)
    assert 0 <= int(speaker.min()) <= int(speaker.max()) < 4


def test_what_is_no_signal_is_told(folder: Path, tmp_path: Path) -> None:
    def refused(match: str, root: Path = folder, channels: int = 3, length: int = 10) -> None:
        with pytest.raises(UserError, match=match) as error:
            SignalFolder(root, channels, length)
        assert "\n" not in str(error.value)

    refused("absent does not exist; give a folder of signals", tmp_path / "absent")
    refused("a.npy is a file; give a folder", folder / "a.npy")
    refused("holds no signal of at least 50 frames.*take a smaller --size", length=50)
    refused(r"a.npy has the shape \(3, 10\), the generator takes \(4, length\)$", channels=4)
    (tmp_path / "empty").mkdir()
    refused("holds no signal .*or take --dataset", tmp_path / "empty")
    np.save(folder / "0.npy", np.zeros((20, 3)))
    refused(r"has the shape \(20, 3\).*; transpose it")
    np.save(folder / "0.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused("0.npy cannot be read")
    (folder / "0.npy").unlink()
    save_file({"a": np.zeros((3, 9)), "b": np.zeros((3, 9))}, folder / "0.safetensors")
    refused("0.safetensors holds 2 arrays; keep one in each file")
    (folder / "0.safetensors").write_bytes(b"no such file")
    refused("0.safetensors cannot be read")
