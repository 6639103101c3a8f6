"""Files of other kinds are named, with a way out."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.models.weights.file import read_content


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_content(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


BYTES = {
    "a.h5": (b"\x89HDF\r\n\x1a\n" + bytes(9), "a Keras or HDF5 file"),
    "a.pth": (b"\x89HDF\r\n\x1a\n" + bytes(9), "a Keras or HDF5 file"),
    "a.tflite": (b"\x1c\0\0\0TFL3" + bytes(9), "a LiteRT model"),
    "a.onnx": (b"\x08\x08\x12\x07pytorch", "an ONNX model"),
    "a.xml": (b"<?xml version='1.0'?><net>", "an OpenVINO model"),
    "a.pb": (b"\n\x09\n\x01x", "a TensorFlow graph"),
    "a.ckpt.data-00000-of-00001": (bytes(20), "part of a TensorFlow checkpoint"),
    "a.ckpt.index": (bytes(20), "a TensorFlow checkpoint"),
    "b.pth": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    "a.gz": (b"\x1f\x8b\x08" + bytes(20), "compressed by gzip"),
    "a.npy": (b"\x93NUMPY\x01\0", "one array of NumPy"),
    "a.pte": (b"\x1c\0\0\0ET12" + bytes(9), "an ExecuTorch program"),
    "a.msgpack": (b"\x82\xa6params", "a Flax file"),
}


@pytest.mark.parametrize("name", BYTES)
def test_other_kinds_are_named(name: str, tmp_path: Path) -> None:
    content, kind = BYTES[name]
    (tmp_path / name).write_bytes(content)
    assert f"is {kind}; nothing in it was run; " in refusal(tmp_path / name)


def test_archives_are_told_by_what_is_in_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", weight=np.zeros(3))
    assert "an archive of NumPy arrays (.npz)" in refusal(tmp_path / "w.npz")
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("w.pth", b"")
    assert "a zip archive; nothing in it was run; unpack it" in refusal(tmp_path / "w.zip")
    with tarfile.open(tmp_path / "w.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("w.pth"), io.BytesIO())
    assert "a tar archive; nothing" in refusal(tmp_path / "w.tar")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_way_out_of_torchscript_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "s.pt"))  # pyright: ignore
    text = refusal(tmp_path / "s.pt")
    assert "is a TorchScript program, not only tensors; nothing in it was run; save its" in text
    monkeypatch.chdir(tmp_path)
    exec(text.partition("save its tensors: ")[2], {"torch": torch})
    assert read_content(tmp_path / "weights.pth").keys() == {"weight", "bias"}


def test_a_program_of_torch_export_is_named(tmp_path: Path) -> None:
    torch.export.save(
        torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "p.pt2"
    )
    assert "a program of torch.export" in refusal(tmp_path / "p.pt2")


def test_a_folder_names_the_weights_in_it(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "b.pth")
    (tmp_path / "model.safetensors").touch()
    assert "is a folder; give the path of one of its files: b.pth, model" in refusal(tmp_path)
