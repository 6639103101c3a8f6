"""Where weights are found, and downloads from a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from gan_slimming.data.files import cache_folder
from gan_slimming.errors import UserError
from gan_slimming.perceptual import weights
from gan_slimming.perceptual.weights import (
    SOURCES,
    Source,
    download,
    fetch_weights,
    find_weights,
    load_weights,
)

CONTENT = bytes(range(256)) * 64
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server was asked, and how it shall behave."""

    url: str = ""
    ranges: bool = True
    truncate: bool = False
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            state.asked.append(asked)
            if self.path != "/file":
                self.send_error(404, "Not Found")
                return
            start = int(asked[len("bytes=") : -1]) if asked and state.ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if asked and state.ranges else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : start + 1000 if state.truncate else None])

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.url = f"http://127.0.0.1:{httpd.server_address[1]}/file"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No weights anywhere but in folders that the test makes; returns the cache folder."""
    monkeypatch.delenv("GAN_SLIMMING_WEIGHTS", raising=False)
    monkeypatch.delenv("GAN_SLIMMING_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gan-slimming"


def _put(folder: Path, path: str) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    return file


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
    if weights.fcntl is not None:
        assert server.asked == [None]


def test_checksum_must_be_a_checksum(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="8 to 64 hexadecimal"):
        download("http://127.0.0.1/", tmp_path / "file.bin", "")


def test_unwritable_cache_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"a file, not a folder")
    with pytest.raises(UserError, match="set XDG_CACHE_HOME"):
        download("http://127.0.0.1/", tmp_path / "taken" / "file.bin", DIGEST)


def test_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, empty_machine: Path) -> None:
    assert cache_folder() == empty_machine
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/gan-slimming")


def test_found_in_order_of_precedence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_machine: Path
) -> None:
    assert find_weights("squeezenet") is None
    in_cache = _put(empty_machine, "squeezenet1_1-b8a52dc0.pth")
    assert find_weights("squeezenet") == in_cache
    in_data = _put(tmp_path / "data", "squeezenet1_1/squeezenet1_1_imagenet.pth")
    monkeypatch.setenv("GAN_SLIMMING_DATA", str(tmp_path / "data"))
    assert find_weights("squeezenet") == in_data
    in_weights = _put(tmp_path / "mine", "squeezenet1_1-b8a52dc0.pth")
    monkeypatch.setenv("GAN_SLIMMING_WEIGHTS", str(tmp_path / "mine"))
    assert find_weights("squeezenet") == in_weights
    with pytest.raises(UserError, match="got 'resnet'"):
        find_weights("resnet")


def test_lpips_weights_come_with_torchmetrics() -> None:
    found = find_weights("lpips")
    assert found is not None
    assert hashlib.sha256(found.read_bytes()).hexdigest() == SOURCES["lpips"].sha256


def test_fetch_downloads_once_into_the_cache(
    server: Server, monkeypatch: pytest.MonkeyPatch, empty_machine: Path
) -> None:
    monkeypatch.setitem(SOURCES, "vgg16", Source(server.url, DIGEST, ("vgg.pth",)))
    assert fetch_weights("vgg16") == empty_machine / "vgg.pth"
    assert fetch_weights("vgg16").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_load_weights(tmp_path: Path) -> None:
    file = tmp_path / "state.pth"
    torch.save({"a": torch.arange(3)}, file)
    assert load_weights("vgg16", file)["a"].tolist() == [0, 1, 2]


def test_load_weights_errors(tmp_path: Path) -> None:
    file = tmp_path / "state.pth"
    with pytest.raises(UserError, match="no weights for vgg16 on this machine; allow the download"):
        load_weights("vgg16", download=False)
    with pytest.raises(UserError, match="no file"):
        load_weights("vgg16", file)
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="is not a file of tensors"):
        load_weights("vgg16", file)
    torch.save([1, 2], file)
    with pytest.raises(UserError, match="must hold a dict of tensors"):
        load_weights("vgg16", file)


class Evil:
    """Runs code when a pickle of it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("arbitrary code ran",)


def test_code_in_a_pickle_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="is not a file of tensors"):
        load_weights("vgg16", tmp_path / "evil.pth")
    assert "arbitrary" not in capsys.readouterr().out
