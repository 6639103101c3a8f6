"""Reports as files: what JSON cannot hold, tables of Markdown, and places that take no file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan_slimming.data import report_files
from gan_slimming.data.report_files import as_json, check_report_file, markdown_table, write_report
from gan_slimming.errors import NotWritten, UserError


def test_json_has_neither_infinities_nor_other_types() -> None:
    report = {1: [float("nan"), float("inf"), 0.5], "path": Path("a"), "pair": (True, None)}
    assert json.loads(as_json(report)) == {
        "1": [None, None, 0.5], "path": "a", "pair": [True, None],
    }  # fmt: skip


def test_a_table_keeps_its_cells_apart() -> None:
    rows = [["a|b", "1", "2"]]
    assert markdown_table(["name", "x", "y"], rows).splitlines() == [
        "| name | x | y |", "| --- | ---: | ---: |", "| a\\|b | 1 | 2 |",
    ]  # fmt: skip
    assert "| --- | --- | ---: |" in markdown_table(["name", "x", "y"], rows, left=2)


def test_places_are_checked_before_any_work(tmp_path: Path) -> None:
    made = check_report_file(tmp_path / "new" / "t.MD", (".md",), overwrite=False)
    assert made is not None
    assert made.parent.is_dir()
    made.write_text("old")
    with pytest.raises(UserError, match="exists already"):
        check_report_file(made, (".md",), overwrite=False)
    with pytest.raises(UserError, match=r"must end in .md, .json"):
        check_report_file("t.csv", (".md", ".json"), overwrite=False)
    with pytest.raises(UserError, match="cannot write"):
        check_report_file(made / "t.md", (".md",), overwrite=False)


def test_a_report_that_finds_no_room_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = {"value": 1, "output": "t.json"}
    write_report(tmp_path / "t.json", report, {".json": as_json})
    assert json.loads((tmp_path / "t.json").read_text()) == report

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_files, "write_atomically", full)
    with pytest.raises(NotWritten, match="No space left on device") as error:
        write_report(tmp_path / "u.json", report, {".json": as_json})
    assert error.value.result == {"value": 1, "output": None}
