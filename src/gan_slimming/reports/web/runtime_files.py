"""The files of onnxruntime-web that a page needs, of one version, each checked by SHA-256.

They come from the npm registry, or from a folder of the user's. The large ones are compressed for
the page, which unpacks them itself: few static servers compress WebAssembly.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from gan_slimming.data.download import Progress, download
from gan_slimming.data.files import cache_folder
from gan_slimming.errors import UserError, one_line

VERSION = "1.30.0"
"""The version of onnxruntime-web that pages were tested with."""
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
"""SHA-256 of the package; its SHA-512 is the integrity that the registry states."""
LICENSE = """\
These files are of onnxruntime-web, https://github.com/microsoft/onnxruntime.

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
"""The licence that a page has to carry with them."""
INSIDE = "package/dist/"
"""Folder of the files in the package."""
FILES = {
    "wasm": {
        "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
        "ort-wasm-simd-threaded.mjs": (
            "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b"
        ),
        "ort-wasm-simd-threaded.wasm": (
            "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
        ),
    },
    "webgpu": {
        "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
        "ort-wasm-simd-threaded.asyncify.mjs": (
            "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28"
        ),
        "ort-wasm-simd-threaded.asyncify.wasm": (
            "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da"
        ),
    },
}
"""Backend -> file -> SHA-256. Each backend needs nothing of the other's."""


def runtime_files(
    backends: Sequence[str], folder: Path | None = None, progress: Progress | None = None
) -> dict[str, bytes]:
    """Return name -> content of the files of some backends, with WebAssembly as .wasm.gz.

    Args:
        backends: keys of FILES.
        folder: where the files lie, such as node_modules/onnxruntime-web/dist; None takes them
            from the npm package, which is downloaded once and then kept in the cache.
    Raises:
        UserError: the package cannot be had, or a file is missing or of another version.
    """
    wanted = {name: sha for backend in backends for name, sha in FILES[backend].items()}
    raw = _from_folder(folder, wanted) if folder else _from_package(wanted, progress)
    for name, content in raw.items():
        if hashlib.sha256(content).hexdigest() != wanted[name]:
            raise UserError(
                f"{name} in {folder or URL} is not that of onnxruntime-web {VERSION}; take the "
                f"dist folder of that version (npm pack onnxruntime-web@{VERSION})"
            )
    return dict(_compressed(name, content) for name, content in raw.items())


def _from_folder(folder: Path, wanted: dict[str, str]) -> dict[str, bytes]:
    try:
        return {name: (folder / name).read_bytes() for name in wanted}
    except OSError as error:
        raise UserError(
            f"runtime files: {error.filename} cannot be read ({error.strerror}); name the dist "
            f"folder of onnxruntime-web {VERSION}, or leave out --runtime-files to download it"
        ) from error


def _from_package(wanted: dict[str, str], progress: Progress | None) -> dict[str, bytes]:
    package = cache_folder() / f"onnxruntime-web-{VERSION}.tgz"
    download(URL, package, SHA256, progress=progress)
    try:
        with tarfile.open(package) as archive:
            return {name: _member(archive, INSIDE + name) for name in wanted}
    except (OSError, tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise UserError(
            f"{package} cannot be unpacked ({one_line(error)[:150]}); delete it and run again"
        ) from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()


def _compressed(name: str, content: bytes) -> tuple[str, bytes]:
    if not name.endswith(".wasm"):
        return name, content
    return f"{name}.gz", gzip.compress(content, mtime=0)
