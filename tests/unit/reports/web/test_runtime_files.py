"""The files of onnxruntime-web: from a folder, from the package, and refused where they differ."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from tests.local_server import Server

from gan_slimming.data.files import cache_folder
from gan_slimming.errors import UserError
from gan_slimming.reports.web import runtime_files as module
from gan_slimming.reports.web.runtime_files import FILES, VERSION, runtime_files


def test_a_folder_gives_the_files_of_its_backends_alone(fake_runtime: Path) -> None:
    found = runtime_files(["wasm"], fake_runtime)
    assert set(found) == {
        "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm.gz",
    }  # fmt: skip
    packed = found["ort-wasm-simd-threaded.wasm.gz"]
    assert gzip.decompress(packed) == b"ort-wasm-simd-threaded.wasm"
    assert len(runtime_files(["wasm", "webgpu"], fake_runtime)) == 6
    assert found == runtime_files(["wasm"], fake_runtime)


def test_another_version_is_refused(fake_runtime: Path) -> None:
    (fake_runtime / "ort.wasm.min.mjs").write_text("another")
    with pytest.raises(UserError, match=rf"is not that of onnxruntime-web {VERSION}; take"):
        runtime_files(["wasm"], fake_runtime)


def test_a_missing_file_is_named(fake_runtime: Path) -> None:
    (fake_runtime / "ort-wasm-simd-threaded.mjs").unlink()
    with pytest.raises(UserError, match=r"simd-threaded.mjs cannot be read .* leave out"):
        runtime_files(["wasm"], fake_runtime)


def test_the_package_is_unpacked_from_the_cache(
    fake_runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path in sorted(fake_runtime.iterdir()):
            archive.add(path, f"package/dist/{path.name}")
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(content.getvalue()).hexdigest())
    monkeypatch.setattr(module, "URL", server.url)
    with pytest.raises(UserError, match=r"other bytes than expected"):
        runtime_files(["wasm"])
    package = cache_folder() / f"onnxruntime-web-{VERSION}.tgz"
    package.write_bytes(content.getvalue())
    assert runtime_files(["webgpu"]) == runtime_files(["webgpu"], fake_runtime)
    assert len(server.asked) == 1  # the cached package is enough


def test_every_file_has_a_checksum() -> None:
    sums = [sha for files in FILES.values() for sha in files.values()]
    assert len(set(sums)) == 6
    assert all(len(sha) == 64 for sha in sums)
