"""The device table: a cell for each figure, a reason where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gan_slimming.errors import UserError
from gan_slimming.reports.device_table import HEAD, as_html, as_markdown, check_table, write_table

ROW = {
    "model": "runs/<b>|", "runtime": "openvino", "precision": "int8", "latency_ms": 12.34,
    "spread": 0.5, "size_bytes": 1234, "peak_bytes": 3 * 2**20, "int8_layers": ["a", "b"],
    "float_layers": [], "lpips": 0.00123, "psnr": 45.67, "problem": None,
}  # fmt: skip
BROKEN = {
    "model": "g", "runtime": "phone", "precision": "int8", "latency_ms": float("nan"),
    "spread": float("nan"), "size_bytes": None, "problem": "no operator",
}  # fmt: skip
REPORT = {
    "size": 256, "threads": 1, "images": 8, "reference": None, "measurements": [ROW, BROKEN],
    "machine": {"processor": "CPU of a test", "kind": "AVX2", "load": [1.25, 2.0, 3.0]},
}  # fmt: skip


def test_markdown_has_a_cell_for_each_figure() -> None:
    lines = as_markdown(REPORT).splitlines()
    assert lines[0].count("|") == len(HEAD) + 1
    assert lines[2] == (
        "| <b>\\| | openvino | int8 | 12.3 | 0.5 | 1,234 | 3 MiB | 2 | 0 | 0.0012 | 45.7 |"
    )
    assert lines[3].startswith("| g | phone | int8 | no operator |")
    assert "CPU of a test (AVX2), 1 thread(s); load of the machine 1.2, 2.0, 3.0" in lines[5]


def test_html_shows_names_as_they_are() -> None:
    page = as_html(REPORT)
    assert "<td>&lt;b&gt;|</td>" in page
    assert '<td colspan="8">no operator</td>' in page
    assert "<script" not in page


def test_json_has_no_nan(tmp_path: Path) -> None:
    write_table(tmp_path / "a" / "table.json", REPORT)
    told = json.loads((tmp_path / "a" / "table.json").read_text())
    assert told["measurements"][1]["latency_ms"] is None


def test_a_file_that_exists_stays(tmp_path: Path) -> None:
    (tmp_path / "table.md").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        check_table(tmp_path / "table.md", overwrite=False)
    assert check_table(tmp_path / "table.md", overwrite=True) == tmp_path / "table.md"
