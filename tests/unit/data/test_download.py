"""Downloads: checked, resumed, and refused in one line."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from tests.local_server import CONTENT, DIGEST, Server

from gan_slimming.data import download as module
from gan_slimming.data.download import download
from gan_slimming.errors import UserError


def test_download_is_whole_and_reports_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    file = tmp_path / "deep" / "file.bin"
    download(server.url, file, DIGEST[:8], progress=lambda *at: seen.append(at))
    assert file.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert not file.with_name("file.bin.part").exists()


def test_download_resumes_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    server.truncate = True
    with pytest.raises(UserError, match=r"ended after 1000 of 16384 bytes\); run again"):
        download(server.url, file, DIGEST)
    assert not file.exists()
    server.truncate = False
    download(server.url, file, DIGEST)
    assert server.asked == [None, "bytes=1000-"]
    assert file.read_bytes() == CONTENT


def test_download_starts_anew_where_the_server_cannot_resume(
    server: Server, tmp_path: Path
) -> None:
    server.ranges = False
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:100])
    download(server.url, tmp_path / "file.bin", DIGEST)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_download_takes_a_part_that_is_already_whole(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    download(server.url, tmp_path / "file.bin", DIGEST)
    assert server.asked == [f"bytes={len(CONTENT)}-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_download_asks_nothing_when_the_file_is_there(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT)
    download(server.url, tmp_path / "file.bin", DIGEST)
    assert server.asked == []


def test_wrong_bytes_are_deleted_and_never_placed(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    with pytest.raises(UserError, match=f"SHA-256 {DIGEST[:8]}, expected 00000000"):
        download(server.url, file, "00000000")
    assert not file.exists()
    assert not file.with_name("file.bin.part").exists()


def test_a_spoilt_part_is_mended_by_the_next_call(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    (tmp_path / "file.bin.part").write_bytes(b"spoilt")
    with pytest.raises(UserError, match="other bytes"):
        download(server.url, file, DIGEST)
    download(server.url, file, DIGEST)
    assert file.read_bytes() == CONTENT


def test_missing_page_is_one_clear_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="answered 404 Not Found; get the file elsewhere") as error:
        download(server.url + "-gone", tmp_path / "file.bin", DIGEST)
    assert "\n" not in str(error.value)


def test_offline_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        with pytest.raises(UserError, match="run again when online") as error:
            download(url, tmp_path / "file.bin", DIGEST, timeout=2)
    assert "\n" not in str(error.value)


def test_several_processes_share_one_download(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    threads = [threading.Thread(target=download, args=(server.url, file, DIGEST)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_bytes() == CONTENT
    if module.fcntl is not None:
        assert server.asked == [None]


def test_checksum_must_be_a_checksum(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="8 to 64 hexadecimal"):
        download("http://127.0.0.1/", tmp_path / "file.bin", "")


def test_unwritable_cache_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"a file, not a folder")
    with pytest.raises(UserError, match="set XDG_CACHE_HOME"):
        download("http://127.0.0.1/", tmp_path / "taken" / "file.bin", DIGEST)
