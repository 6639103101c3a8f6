"""A static server on this machine alone, to look at a page."""

from __future__ import annotations

import functools
import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gan_slimming.errors import UserError, system_reason

HOST = "127.0.0.1"
TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".gz": "application/gzip",
    ".onnx": "application/octet-stream",
    ".webmanifest": "application/manifest+json",
}
"""Ending -> type, whatever the tables of this machine say."""
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""The first two allow threads in WebAssembly."""


@contextmanager
def page_server(folder: Path, port: int = 0) -> Iterator[http.server.ThreadingHTTPServer]:
    """Yield a server of a folder's files, ready to serve; 0 takes a free port.

    Raises:
        UserError: the port is taken.
    """
    handler = functools.partial(_Handler, directory=str(folder))
    try:
        server = http.server.ThreadingHTTPServer((HOST, port), handler)
    except (OSError, OverflowError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"port {port} cannot be used ({reason}); name another --port") from error
    with server:
        yield server


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serve files with the types and headers that a page needs, and log nothing."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, **TYPES}  # noqa: RUF012

    def end_headers(self) -> None:
        """Add the headers."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing."""
