"""CIFAR-10 from folders, tars and the official archive, and archives that are not it."""

from __future__ import annotations

import pickle
import struct
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_slimming.data.cifar10 import CLASSES, read_cifar10
from gan_slimming.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
LABELS = [k % 10 for k in range(20)]


def text(value: bytes) -> bytes:
    """A text of Python 2 in a pickle."""
    return b"T" + struct.pack("<i", len(value)) + value


def batch_of_python_2(rows: np.ndarray, labels: list[int]) -> bytes:
    """A pickle like the official ones: protocol 2, texts of Python 2, an array of bytes."""
    count, length = rows.shape
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR("
        b"K\x01(J" + struct.pack("<i", count) + b"J" + struct.pack("<i", length) + b"t"
        b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff"
        b"\xffJ\xff\xff\xff\xffK\x00tb\x89" + text(rows.tobytes()) + b"tb"
    )
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    items = text(b"data") + array + text(b"labels") + listed
    return b"\x80\x02}(" + items + b"u."


def write_batches(folder: Path, make: object = batch_of_python_2) -> Path:
    folder = folder / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for k in range(5):
        rows = RGB[4 * k : 4 * k + 4].reshape(4, -1)
        (folder / f"data_batch_{k + 1}").write_bytes(make(rows, LABELS[4 * k : 4 * k + 4]))  # pyright: ignore
    (folder / "test_batch").write_bytes(make(RGB[:2].reshape(2, -1), LABELS[:2]))  # pyright: ignore
    return folder


def tarred(folder: Path, file: Path, mode: str) -> Path:
    with tarfile.open(file, mode) as archive:  # pyright: ignore[reportCallIssue,reportArgumentType]
        archive.add(folder, folder.name)
    return file


def test_the_official_archive(tmp_path: Path) -> None:
    folder = write_batches(tmp_path)
    for path in (folder, tarred(folder, tmp_path / "cifar-10-python.tar.gz", "w:gz")):
        found = read_cifar10(path)
        assert torch.equal(found.pixels, torch.from_numpy(RGB))
        assert found.labels.tolist() == LABELS
        assert read_cifar10(path, "test").labels.tolist() == LABELS[:2]


def test_batches_that_python_3_wrote(tmp_path: Path) -> None:
    def make(rows: np.ndarray, labels: list[int]) -> bytes:
        return pickle.dumps({b"data": rows, b"labels": labels}, protocol=3)

    assert torch.equal(read_cifar10(write_batches(tmp_path, make)).pixels, torch.from_numpy(RGB))


def test_images_by_class(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("test", 10)):
        for k in range(count):
            folder = tmp_path / "cifar" / split / CLASSES[LABELS[k]]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RGB[k].transpose(1, 2, 0)).save(folder / f"{k:04d}.png")
    root = tmp_path / "cifar"
    for path in (root, tarred(root, tmp_path / "images.tar.xz", "w:xz")):
        found = read_cifar10(path)
        order = sorted(range(20), key=lambda k: (CLASSES[LABELS[k]], k))
        assert torch.equal(found.pixels, torch.from_numpy(RGB[order]))
        assert found.labels.tolist() == [LABELS[k] for k in order]
        assert len(read_cifar10(path, "test").labels) == 10


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must not be printed",)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (pickle.dumps({b"data": Harm(), b"labels": []}, protocol=3), "it names .*print"),
        (pickle.dumps({b"data": RGB[:1], b"labels": [1, 2]}, protocol=3), "do not fit"),
        (pickle.dumps({b"data": RGB[:1], b"labels": [17]}, protocol=3), "do not fit"),
        (pickle.dumps({b"data": RGB[:1].astype(float), b"labels": [1]}, protocol=3), "than uint8"),
        (pickle.dumps({b"data": np.array([{}, []], object), b"labels": [1]}, protocol=3), "uint8"),
        (batch_of_python_2(RGB[:1].reshape(1, -1), [1])[:-20], "no whole pickle"),
        (b"nothing", "no whole pickle"),
    ],
)
def test_batches_that_are_refused(
    content: bytes, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_batches(tmp_path)
    (folder / "data_batch_3").write_bytes(content)
    with pytest.raises(UserError, match=rf"data_batch_3 is no batch of CIFAR-10 \(.*{text}"):
        read_cifar10(folder)
    assert capsys.readouterr().out == ""


def test_other_paths(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        read_cifar10(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no train images of CIFAR-10; files are expected as"):
        read_cifar10(tmp_path)
    (tmp_path / "page.tar.gz").write_bytes(b"<html>")
    with pytest.raises(UserError, match="no whole tar"):
        read_cifar10(tmp_path / "page.tar.gz")
    cut = BytesIO()
    with tarfile.open(fileobj=cut, mode="w:xz") as archive:
        archive.add(write_batches(tmp_path / "whole"), "cifar")
    (tmp_path / "cut.tar.xz").write_bytes(cut.getvalue()[: len(cut.getvalue()) // 2])
    with pytest.raises(UserError, match="no whole tar"):
        read_cifar10(tmp_path / "cut.tar.xz")


def test_images_of_another_size(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "frog"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "0.png")
    with pytest.raises(UserError, match="it has 40x30 pixels, 32x32 are expected"):
        read_cifar10(tmp_path)
