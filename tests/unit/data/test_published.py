"""Published sets of images: a download, its unpacking, and archives that are refused."""

from __future__ import annotations

import hashlib
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from tests.local_server import Server

from gan_slimming.data import published
from gan_slimming.data.published import DATASETS, fetch_dataset
from gan_slimming.errors import UserError


def zipped(**files: bytes) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/"), data)
    return content.getvalue()


def fetched(server: Server, content: bytes, folder: Path) -> Path:
    server.content = content
    digest = hashlib.sha256(content).hexdigest()
    return fetch_dataset("horse2zebra", folder, url=server.url, sha256=digest)


def test_images_are_unpacked_below_the_set_s_name(server: Server, tmp_path: Path) -> None:
    files = {"horse2zebra__trainA__1.jpg": b"horse", "horse2zebra__trainB__2.jpg": b"zebra"}
    made = fetched(server, zipped(**files, horse2zebra__notes=b"x"), tmp_path)
    assert made == tmp_path / "horse2zebra"
    found = {p.relative_to(made).as_posix(): p.read_bytes() for p in made.rglob("*") if p.is_file()}
    assert found == {"trainA/1.jpg": b"horse", "trainB/2.jpg": b"zebra"}
    assert {p.name for p in tmp_path.iterdir()} <= {"horse2zebra", "horse2zebra.zip.lock"}
    server.content = b"gone"
    assert fetch_dataset("horse2zebra", tmp_path, url=server.url) == made  # kept as it is


@pytest.mark.parametrize(
    "name", ["..__..__evil.jpg", "__etc__evil.jpg", "evil.jpg", "a__..__..__evil.jpg"]
)
def test_no_file_lands_elsewhere(name: str, server: Server, tmp_path: Path) -> None:
    made = fetched(server, zipped(**{name: b"x", "set__trainA__1.jpg": b"y"}), tmp_path / "data")
    assert [p.name for p in made.rglob("*.jpg")] == ["1.jpg"]
    assert not list(tmp_path.glob("evil.jpg"))


def test_archives_that_are_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetched(server, b"no zip", tmp_path / "a")
    with pytest.raises(UserError, match="holds no images"):
        fetched(server, zipped(set__notes=b"x"), tmp_path / "b")
    monkeypatch.setattr(published, "MOST_BYTES", 3)
    with pytest.raises(UserError, match="more than 3 bytes"):
        fetched(server, zipped(set__1__a_jpg=b"", **{"set/1.jpg": b"1234"}), tmp_path / "c")
    for folder in "abc":
        assert not (tmp_path / folder / "horse2zebra").exists()
    with pytest.raises(UserError, match="no set of images is called 'zebras'; take one of horse2z"):
        fetch_dataset("zebras", tmp_path)


def test_other_bytes_than_published_are_refused(server: Server, tmp_path: Path) -> None:
    server.content = zipped(set__trainA__1_jpg=b"x")
    with pytest.raises(UserError, match="gave other bytes than expected"):
        fetch_dataset("maps", tmp_path, url=server.url)


def test_hashes_are_whole() -> None:
    assert all(len(found.sha256) == 64 for found in DATASETS.values())
