"""The server to look at a page: types, headers, and a port that is taken."""

from __future__ import annotations

import threading
import urllib.request
from pathlib import Path

import pytest

from gan_slimming.errors import UserError
from gan_slimming.reports.web.server import page_server


def test_files_have_their_types_and_the_headers_for_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    types = {"a.mjs": "text/javascript", "a.wasm.gz": "application/gzip",
             "a.onnx": "application/octet-stream", "index.html": "text/html"}  # fmt: skip
    for name in types:
        (tmp_path / name).write_text(name)
    with page_server(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            for name, kind in types.items():
                address = f"http://127.0.0.1:{server.server_address[1]}/{name}"
                with urllib.request.urlopen(address) as answer:
                    assert answer.headers["Content-Type"] == kind
                    assert answer.headers["Content-Encoding"] is None
                    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
                    assert answer.read() == name.encode()
        finally:
            server.shutdown()
            thread.join()
        with (
            pytest.raises(UserError, match=r"cannot be used \(.*\); name another --port"),
            page_server(tmp_path, server.server_address[1]),
        ):
            pass
    with pytest.raises(UserError, match=r"port 70000 cannot be used"), page_server(tmp_path, 70000):
        pass
