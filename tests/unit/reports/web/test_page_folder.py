"""The folder of a page: whole, and never over files of the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gan_slimming.errors import UserError
from gan_slimming.reports.web.page_folder import MARKER, check_folder, template_files, write_folder


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "page"
    write_folder(folder, {"index.html": b"a", "runtime/ort.wasm.min.mjs": b"b"})
    assert names(folder) == {MARKER, "index.html", "runtime/ort.wasm.min.mjs"}
    assert os.listdir(folder.parent) == ["page"]
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o755


def test_a_second_page_replaces_the_first_and_keeps_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    write_folder(folder, {"index.html": b"a", "teacher.onnx": b"t"})
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds a page already; replace it with --overwrite"):
        check_folder(folder, overwrite=False, inputs=[])
    check_folder(folder, overwrite=True, inputs=[])
    write_folder(folder, {"index.html": b"b"})
    assert names(folder) == {MARKER, "index.html", "notes.txt"}
    assert (folder / "index.html").read_bytes() == b"b"


def test_folders_of_other_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"holds other files than a page's; name a new"):
            check_folder(tmp_path, overwrite=overwrite, inputs=[])
    with pytest.raises(UserError, match=r"is no folder; name another"):
        check_folder(tmp_path / "thesis.txt", overwrite=True, inputs=[])
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty", overwrite=False, inputs=[])


def test_a_model_inside_the_page_is_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    write_folder(folder, {"student.onnx": b"s"})
    with pytest.raises(UserError, match=r"student.onnx lies in .* would be lost"):
        check_folder(folder, overwrite=True, inputs=[folder / "student.onnx"])


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written"):
        write_folder(tmp_path / "file" / "page", {"index.html": b""})
    assert os.listdir(tmp_path) == ["file"]


def test_the_title_stands_in_the_page_and_is_escaped() -> None:
    files = template_files('<b>"A"')
    assert b"<title>&lt;b&gt;&quot;A&quot;</title>" in files["index.html"]
    assert b'"name": "<b>\\"A\\""' in files["page.webmanifest"]
    assert b"TITLE" not in files["index.html"]
