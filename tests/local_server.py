"""A web server on this machine for tests of downloads: one file, whole, in parts, or cut off."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CONTENT = bytes(range(256)) * 64
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server was asked, and how it shall behave."""

    url: str = ""
    ranges: bool = True
    truncate: bool = False
    content: bytes = CONTENT
    asked: list[str | None] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[Server]:
    """Serve its content under the state's url while this lasts."""
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            state.asked.append(asked)
            if self.path != "/file":
                self.send_error(404, "Not Found")
                return
            start = int(asked[len("bytes=") : -1]) if asked and state.ranges else 0
            if start >= len(state.content):
                self.send_error(416)
                return
            self.send_response(206 if asked and state.ranges else 200)
            self.send_header("Content-Length", str(len(state.content) - start))
            self.end_headers()
            self.wfile.write(state.content[start : start + 1000 if state.truncate else None])

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.url = f"http://127.0.0.1:{httpd.server_address[1]}/file"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()
