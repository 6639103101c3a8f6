"""Records, and the table and page that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gan_slimming.errors import UserError
from gan_slimming.experiments.folder import TableFolder, check_unseen
from gan_slimming.experiments.page import write_table_page
from gan_slimming.experiments.records import as_markdown, read_records, write_record


def record(row: str, macs: int, lpips: float | None, **changes: Any) -> dict[str, Any]:
    result = {"metric": "lpips", "value": lpips, "low": 0.1, "high": 0.3, "images": 9}
    return {
        "format": 1, "experiment": "dcgan", "scale": "cpu", "row": row, "length": "2 minutes",
        "budget": "0.25 of parameters", "images": 9, "seed": 0, "threads": 1, "steps": 1234,
        "seconds": 119.7, "date": "2026-11-30", "note": "",
        "teacher": {"macs": 1000, "parameters": 100, "size_bytes": 400},
        "cost": {"macs": macs, "parameters": 50, "size_bytes": 60},
        "results": [result], "environment": {"processor": "A CPU", "commit": "abcdef012"},
        **changes,
    }  # fmt: skip


def test_the_table_shows_costs_ratios_figures_and_intervals() -> None:
    text = as_markdown([record("gs-8", 250, 0.2), record("gd", 500, None, seed=1)])
    lines = text.splitlines()
    assert lines[0] == "| method | MACs | parameters | bytes | lpips ↓ | steps | seconds |"
    assert lines[2].startswith("| teacher, fp32 | 1,000 | 100 | 400 | – |")
    assert lines[3] == (
        "| gs-8 | 250 (1/4) | 50 (1/2) | 60 (1/6.67) | 0.2 [0.1, 0.3] | 1,234 | 120 |"
    )
    assert "seed 0, 1; each row 2 minutes; budget 0.25 of parameters" in text
    assert "A CPU, 1 thread(s); commit abcdef0; 2026-11-30" in text


def test_rows_that_were_timed_have_a_column() -> None:
    told = {"latency_ms": 12.345, "precision": "int8"}
    lines = as_markdown([record("a", 1, 0.5, latency=told), record("b", 1, 0.5)]).splitlines()
    assert lines[0].endswith("| seconds | ms in OpenVINO |")
    assert lines[3].endswith("| 12.3 (int8) |")
    assert lines[2].endswith("| – |")
    assert lines[4].endswith("| – |")
    assert len({line.count("|") for line in lines[:5]}) == 1


def test_without_a_finished_row_the_table_says_so() -> None:
    assert as_markdown([]) == "No row is finished.\n"


def test_records_are_read_in_the_order_of_rows(tmp_path: Path) -> None:
    for row in ("a", "b", "c"):
        write_record(tmp_path / f"{row}.json", record(row, 1, 0.5))
    assert [r["row"] for r in read_records(tmp_path, ["c", "x", "a"])] == ["c", "a", "b"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": "x", "results": []}'])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"a\.json is no record of a row"):
        read_records(tmp_path)


def test_a_record_of_a_later_version_is_refused(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", record("a", 1, 0.5, format=2))
    with pytest.raises(UserError, match="newer version"):
        read_records(tmp_path)


def test_the_page_names_rows_that_failed_and_escapes_them(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    write_table_page(page, "dcgan", [record("gs-8", 250, 0.2)], {"<cp>": "no & memory"})
    text = page.read_text("utf-8")
    assert "1 rows finished, 1 failed." in text
    assert "&lt;cp&gt; failed: no &amp; memory" in text
    assert text.count("<svg") >= 2


def test_a_folder_of_other_settings_is_not_mixed(tmp_path: Path) -> None:
    TableFolder(tmp_path / "t").open({"scale": "cpu", "seed": 0})
    TableFolder(tmp_path / "t").open({"scale": "cpu", "seed": 0})
    with pytest.raises(UserError, match="holds rows with another seed; name another --output"):
        TableFolder(tmp_path / "t").open({"scale": "cpu", "seed": 1})
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(UserError, match="is not of an experiment"):
        TableFolder(tmp_path / "photos").open({})


def test_an_image_of_both_folders_is_found_under_any_name(tmp_path: Path) -> None:
    train, test = TableFolder(tmp_path).smoke_images(0)
    check_unseen(train, test)
    (test / "other.png").write_bytes((train / "1.png").read_bytes())
    with pytest.raises(UserError, match=r"other\.png is .*1\.png, which is trained on"):
        check_unseen(train, test)
