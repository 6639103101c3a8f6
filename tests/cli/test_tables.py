"""Tables of README and docs say what the records in results/ say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the script that writes them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("tables")


def described() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "results/tables.yaml").read_text("utf-8"))


def test_pages_are_current(tables: Any) -> None:
    texts = [page.read_text("utf-8") for page in PAGES]
    assert [tables.filled(text, described(), ROOT / "results") for text in texts] == texts


def test_each_table_stands_on_a_page(tables: Any) -> None:
    used = {m[2] for page in PAGES for m in tables.BLOCK.finditer(page.read_text("utf-8"))}
    assert used == set(described())


def test_a_new_record_changes_the_table(tables: Any, tmp_path: Path) -> None:
    columns = [
        ["LPIPS", "curve.-1.lpips", ".3f"],
        ["FLIP", "results.metric=flip", ".2f"],
        ["GMACs", "macs", "G.2f"],
    ]
    description = {"one": {"heading": ["run"], "columns": columns, "rows": [["`a`", "a"]]}}
    results = [{"metric": "lpips"}, {"metric": "flip", "value": 0.25, "low": 0.2, "high": 0.3}]
    curve = [{"lpips": 0.9}, {"lpips": 0.12345}]
    record = {"macs": 1234567890, "curve": curve, "results": results}
    (tmp_path / "a.json").write_text(json.dumps(record))
    page = "text\n<!-- table: one -->\nold\n<!-- end of table -->\nmore\n"
    made = tables.filled(page, description, tmp_path).splitlines()
    assert made[2:5] == [
        "| run | LPIPS | FLIP | GMACs |",
        "| --- | --- | --- | --- |",
        "| `a` | 0.123 | 0.25 [0.20, 0.30] | 1.23 |",
    ]
    assert [*made[:2], *made[5:]] == ["text", page.splitlines()[1], *page.splitlines()[3:]]
    with pytest.raises(KeyError):
        tables.filled(page.replace("one", "unknown"), description, tmp_path)
