"""The folder of a page: written whole or not at all, and never over files of the user's."""

from __future__ import annotations

import html
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from gan_slimming.errors import UserError, system_reason
from gan_slimming.reports.web.runtime_files import FILES
from gan_slimming.serialization.ownership import holds

MARKER = ".gan-slimming-page"
"""File by which a page's folder is known."""
TEMPLATE = Path(__file__).parent / "template"
MODELS = ("student.onnx", "student-webgpu.onnx", "teacher.onnx")
CONFIG = "config.json"
RUNTIME = "runtime"
"""Sub-folder of the runtime's files."""


def check_folder(folder: Path, *, overwrite: bool, inputs: list[Path]) -> None:
    """Refuse an unsuitable folder before any slow work.

    Args:
        inputs: files and folders of the user's that overwriting must not touch.
    Raises:
        UserError: it is a file, holds other things, holds a page that may not be replaced, or holds
            an input.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise UserError(f"{folder} is no folder; name another --output")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    marker = folder / MARKER
    if not marker.is_file() or marker.is_symlink():
        raise UserError(
            f"{folder} holds other files than a page's; name a new or an empty folder as --output"
        )
    if not overwrite:
        raise UserError(
            f"{folder} holds a page already; replace it with --overwrite or name another --output"
        )
    for given in inputs:
        if holds(folder, given):
            raise UserError(f"{given} lies in {folder} and would be lost; name another --output")


def template_files(title: str = "") -> dict[str, bytes]:
    """Return name -> content of the page itself, with its title."""
    paths = (path for path in sorted(TEMPLATE.iterdir()) if path.is_file())
    files = {path.name: path.read_bytes() for path in paths}
    quoted = json.dumps(title)[1:-1].encode()  # without the quotes, which the file has
    titles = {"index.html": html.escape(title).encode(), "page.webmanifest": quoted}
    return files | {name: files[name].replace(b"TITLE", text) for name, text in titles.items()}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a page's files, and remove those of an earlier page that it has no more.

    Other files in the folder stay.

    Args:
        files: path inside the folder -> content.
    Raises:
        UserError: they cannot be written; a new folder is not there then.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".web-", dir=folder.parent))
        try:
            _write(draft, files)
            _place(draft, folder, files)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({system_reason(error)}); make room, or name another "
            "--output"
        ) from error


def _write(draft: Path, files: Mapping[str, bytes]) -> None:
    draft.chmod(0o755)  # of a temporary folder only its owner may read, a web server often may not
    for name, content in {MARKER: b"A page of gan-slimming web.\n", **files}.items():
        path = draft / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def _place(draft: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if not folder.exists():
        draft.rename(folder)
        return
    (folder / RUNTIME).mkdir(exist_ok=True)
    for name in (MARKER, *files):
        os.replace(draft / name, folder / name)
    for name in _known() - files.keys():
        (folder / name).unlink(missing_ok=True)


def _known() -> set[str]:
    """Return the names of all files that a page of this version can have, but the marker."""
    runtime = {name for backend in FILES.values() for name in backend}
    named = {f"{n}.gz" if n.endswith(".wasm") else n for n in runtime} | {"LICENSE.txt"}
    return {*template_files(), *MODELS, CONFIG, *(f"{RUNTIME}/{name}" for name in named)}
