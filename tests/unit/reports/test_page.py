"""The page: one file that needs nothing else, safe against names, whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_slimming.reports.page import (
    Card,
    Chart,
    Page,
    Row,
    Section,
    Table,
    render,
    save_page,
    write_page,
)

IMAGE = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(1)) * 2 - 1
OUTSIDE = re.compile(r"https?://|<(iframe|object|embed)|@import|url\(|<script [^>]*src|<link [^>]*href=\"(?!data:)")  # fmt: skip  # noqa: E501


def write(path: Path, **changes: Any) -> str:
    content: dict[str, Any] = {
        "title": "A title",
        "lead": "What it shows.",
        "columns": ["photo", "student"],
        "rows": [Row("a.png", [IMAGE, -IMAGE]), Row("b.png", [IMAGE, IMAGE])],
        "table": [["", "teacher"], ["bytes", "7"]],
        "notes": ["How it was measured."],
    }
    write_page(path, **(content | changes))
    return path.read_text(encoding="utf-8")


def test_the_page_needs_no_network_and_holds_everything(tmp_path: Path) -> None:
    page = write(tmp_path / "index.html")
    assert not OUTSIDE.search(page)
    assert "default-src 'none'" in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 4
    assert all(source.startswith("data:image/") for source in sources)
    for text in ("<title>A title</title>", "What it shows.", "How it was measured.", ">7</td>"):
        assert text in page
    assert page.count('<th scope="col"') == 2
    assert 'alt="b.png: student"' in page
    assert 'data-before="photo" data-after="student"' in page


@pytest.mark.parametrize(
    "outside",
    ['<script src="x.js">', '<link rel="a" href="x.css">', "@import 'x'", 'src="https://x/y.png"'],
)
def test_what_needs_the_network_would_be_noticed(outside: str) -> None:
    assert OUTSIDE.search(outside)


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    page = write(
        tmp_path / "index.html",
        title=evil,
        lead=evil,
        rows=[Row(evil, [IMAGE])],
        columns=[evil],
        table=[[evil], [evil]],
        notes=[evil],
    )
    assert evil not in page
    assert page.count("<script>") == 1  # ours
    assert page.count("&lt;script&gt;") >= 9  # each place that takes a text
    everything = Page(
        evil,
        evil,
        cards=[Card(evil, evil, evil)],
        sections=[
            Section("a", evil, [Chart(evil, "<svg/>", evil)], [Table(evil, [evil], [[evil]])],
                    [evil]),
            Section("b", evil, tables=[Table(evil, [evil], [[evil, evil]], folded=True)]),
        ],
        warnings=[evil],
        notes=[evil],
    )  # fmt: skip
    text = render(everything)
    assert evil not in text
    assert text.count("<script>") == 1


def test_parts_that_are_not_there_leave_no_trace() -> None:
    page = render(Page("a", "b"))
    for trace in ("<section", "<nav", "<table", "<progress", "<footer", "<svg", "None"):
        assert trace not in page.partition("</head>")[2].partition("<script>")[0]


def test_numbers_are_aligned_and_prose_is_not() -> None:
    rows = [["steps", "240 of 240"]]
    assert '<td class="n">240' in render(
        Page("a", "b", sections=[Section("s", "s", tables=[Table("t", ["", ""], rows)])])
    )
    assert '<td class="n">240' not in render(
        Page(
            "a", "b", sections=[Section("s", "s", tables=[Table("t", ["", ""], rows, prose=True)])]
        )
    )


def test_charts_over_time_can_be_asked_for() -> None:
    charts = [Chart("a", "<svg>1</svg>", by_time="<svg>2</svg>")]
    page = render(Page("a", "b", sections=[Section("s", "s", charts)]))
    assert '<div class="by-step"><svg>1</svg></div><div class="by-time"><svg>2</svg></div>' in page
    assert page.count('type="radio"') == 2
    assert 'type="radio"' not in render(
        Page("a", "b", sections=[Section("s", "s", [Chart("a", "<svg>1</svg>")])])
    )


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(tmp_path / "index.html")

    def full_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(OSError, match="No space"):
            save_page(tmp_path / "index.html", Page("Another", ""))
    assert (tmp_path / "index.html").read_text() == before
    write(tmp_path / "index.html")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
