"""Folders that are one model: written whole, and replaced only where they are packages."""

from pathlib import Path

import pytest

from gan_slimming.errors import UserError
from gan_slimming.export.packages import MANIFEST, pack, refuse_package, write_package
from gan_slimming.serialization.resolve import resolve_model


def _package(folder: Path, weights: bytes) -> Path:
    (folder / "Data").mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")
    (folder / "Data" / "weight.bin").write_bytes(weights)
    return folder


def test_a_package_is_packed_and_written_back(tmp_path: Path) -> None:
    content = pack(_package(tmp_path / "a", b"12345"))
    target = _package(tmp_path / "out.mlpackage", b"old")
    (tmp_path / "draft").mkdir()
    assert write_package(content, tmp_path / "draft" / "x", target) == 5 + 2
    assert (target / "Data" / "weight.bin").read_bytes() == b"12345"


def test_only_packages_are_replaced(tmp_path: Path) -> None:
    refuse_package(tmp_path / "new.mlpackage", overwrite=False)
    target = _package(tmp_path / "old.mlpackage", b"1")
    refuse_package(target, overwrite=True)
    with pytest.raises(UserError, match="exists already; replace it with --overwrite"):
        refuse_package(target, overwrite=False)
    photos = tmp_path / "photos.mlpackage"
    photos.mkdir()
    with pytest.raises(UserError, match="is a folder, but no Core ML package; name another"):
        refuse_package(photos, overwrite=True)


def test_commands_name_a_package_that_they_cannot_run(tmp_path: Path) -> None:
    package = _package(tmp_path / "g.mlpackage", b"1")
    with pytest.raises(UserError, match="is a Core ML package, which runs in apps of Apple's"):
        resolve_model(package)
