"""report from the command line: one run, several, and what users get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.run_folders import finished_run, run_under_way

from gan_slimming.cli import main

Capture = pytest.CaptureFixture[str]


def ok(capsys: Capture, *arguments: str | Path) -> dict[str, Any]:
    assert main(["report", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    return json.loads(out)


def refused(capsys: Capture, *arguments: str | Path) -> str:
    assert main(["report", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_one_run_keeps_its_keys(tmp_path: Path, capsys: Capture) -> None:
    run = finished_run(tmp_path / "run")
    found = ok(capsys, run)
    summary = json.loads((run / "summary.json").read_text())
    assert list(found)[:3] == ["report", "steps", "finished"]
    assert found == {"report": str(run / "report.html"), "finished": True, **summary}
    assert (run / "report.html").is_file()


def test_the_page_is_named_where_it_is(tmp_path: Path, capsys: Capture) -> None:
    run = finished_run(tmp_path / "run")
    page = tmp_path / "elsewhere.html"
    assert ok(capsys, run, "--output", page)["report"] == str(page)
    assert page.is_file()
    assert not (run / "report.html").exists()


def test_a_page_of_the_users_is_not_replaced_unasked(tmp_path: Path, capsys: Capture) -> None:
    run = finished_run(tmp_path / "run")
    ok(capsys, run)
    ok(capsys, run)  # its own page is only a view of the run
    for page, flags in ((tmp_path / "mine.html", ["--output"]), (run / "report.html", [])):
        page.write_text("mine")
        named = [*flags, page] if flags else []
        assert "exists already; replace it with --overwrite" in refused(capsys, run, *named)
        assert page.read_text() == "mine"
        ok(capsys, run, *named, "--overwrite")
        assert page.read_text() != "mine"


def test_several_runs_are_compared_in_the_folder_that_holds_them(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished_run(Path("runs/a"))
    finished_run(Path("runs/b"), seed=1)
    run_under_way(Path("runs/c"), steps=3)
    found = ok(capsys, "runs/a", "runs/b", "runs/c")
    assert found["report"] == str(Path("runs/comparison.html"))
    assert [run["run"] for run in found["runs"]] == ["runs/a", "runs/b", "runs/c"]
    assert [run["finished"] for run in found["runs"]] == [True, True, False]
    assert found["runs"][1]["macs"] == 200
    assert Path("runs/comparison.html").is_file()


def test_a_run_under_way_and_one_without_samples_have_pages(
    tmp_path: Path, capsys: Capture
) -> None:
    assert ok(capsys, run_under_way(tmp_path / "young", steps=2))["finished"] is False
    run = finished_run(tmp_path / "bare")
    for file in (run / "samples").iterdir():
        file.unlink()
    assert ok(capsys, run)["finished"] is True


def test_mistakes_are_one_line(tmp_path: Path, capsys: Capture) -> None:
    run = finished_run(tmp_path / "run")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty is no run folder: it has no config.yaml" in refused(capsys, empty)
    assert "nowhere is no run folder" in refused(capsys, run, tmp_path / "nowhere")
    assert "named twice" in refused(capsys, run, run)
    assert "is a folder; name a file" in refused(capsys, run, "--output", tmp_path)
    line = refused(capsys, run, "--output", tmp_path / "no" / "page.html")
    assert "page.html (No such file or directory); name another --output" in line
    assert "missing" in refused(capsys)
