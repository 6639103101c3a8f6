"""Tables and files of results."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from gan_slimming.errors import UserError
from gan_slimming.evaluation.results import (
    as_markdown,
    check_output,
    row_of,
    table_rows,
    write_results,
)


@pytest.fixture
def report() -> dict[str, Any]:
    protocol = {"data": "photos", "seed": 0}
    kid = {"value": 0.1, "low": 0, "high": 1, "images": 9, "spread": 0.02}
    rows = [
        row_of("runs/a", "psnr", {"value": 20.5, "low": 20.0, "high": 21.0, "images": 9}, protocol),
        row_of("runs/b|c", "psnr", {"value": 1e5, "low": 1.0, "high": 2e5, "images": 9}, protocol),
        row_of("runs/a", "kid", kid, protocol),
    ]  # fmt: skip
    models = [
        {"model": "runs/a", "verdict": "as near as x", "macs": 12345, "latency_ms": 2.25},
        {"model": "runs/b|c", "verdict": None, "macs": None, "latency_ms": float("inf")},
    ]
    return {"results": rows, "models": models, "images": 9, "protocol": protocol}


def test_a_row_says_which_way_is_better(report: dict[str, Any]) -> None:
    row = report["results"][0]
    assert list(row)[:6] == ["model", "metric", "value", "low", "high", "images"]
    assert (row["direction"], row["unit"]) == ("higher", "dB")


def test_the_table_has_a_column_for_each_model(report: dict[str, Any]) -> None:
    head, rows = table_rows(report)
    assert head == ["", "a", "b|c"]
    assert rows == [
        ["psnr (higher is better, dB)", "20.5 [20, 21]", "100,000 [1, 200,000]"],
        ["kid (lower is better)", "0.1 ± 0.02 [0, 1]", "–"],
        ["MACs", "12,345", "–"],
        ["ms for one image", "2.2", "inf"],
    ]
    report["models"][1]["model"] = "other/a"
    assert table_rows(report)[0] == ["", "runs/a", "other/a"]


def test_files_of_three_kinds(report: dict[str, Any], tmp_path: Path) -> None:
    for name in ("t.json", "t.md", "sub/t.csv"):
        write_results(tmp_path / name, report)
    read = json.loads((tmp_path / "t.json").read_text())
    assert read["results"] == report["results"]
    assert read["models"][1]["latency_ms"] is None
    text = (tmp_path / "t.md").read_text()
    assert text == as_markdown(report)
    assert "| psnr (higher is better, dB) | 20.5 [20, 21] | 100,000 [1, 200,000] |" in text
    assert "b\\|c" in text
    assert "- runs/a: as near as x." in text
    rows = list(csv.DictReader((tmp_path / "sub" / "t.csv").read_text().splitlines()))
    assert rows[0]["value"] == "20.5"
    assert json.loads(rows[0]["protocol"]) == {"data": "photos", "seed": 0}
    costs = ["macs", "latency_ms", "latency_ms"]
    assert [row["metric"] for row in rows] == ["psnr", "psnr", "kid", *costs]


def test_outputs_are_refused_before_any_work(tmp_path: Path) -> None:
    assert check_output(None, False) is None
    with pytest.raises(UserError, match=r"must end in .json, .md, .csv"):
        check_output(tmp_path / "t.html", False)
    (tmp_path / "t.md").write_text("")
    with pytest.raises(UserError, match="exists already; replace it with --overwrite"):
        check_output(tmp_path / "t.md", False)
    assert check_output(str(tmp_path / "t.md"), True) == tmp_path / "t.md"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        check_output(tmp_path / "file" / "t.md", False)
    with pytest.raises(UserError, match="cannot write"):
        write_results(tmp_path / "file" / "t.md", {"results": [], "models": [], "protocol": {}})


def test_names_are_no_markup(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Of rich: [b] would vanish, [/b] would end the program, and :up: become a sign."""
    from gan_slimming.workflows.evaluate import print_table

    text = json.dumps(report).replace(report["models"][0]["model"], "nets:up:[b]")
    print_table(json.loads(text))
    assert capsys.readouterr().err.count("nets:up:[b]") == 2
