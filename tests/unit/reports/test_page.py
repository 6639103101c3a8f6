"""The page: one file that needs nothing else, safe against names, whole or not at all."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_slimming.reports.page import Row, data_uri, write_page

IMAGE = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(1)) * 2 - 1


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
    assert "http" not in page
    assert not re.search(r"<(script|link|iframe)|@import|url\(", page)
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    for text in ("<title>A title</title>", "What it shows.", "How it was measured.", "<td>7</td>"):
        assert text in page
    assert page.count("<th>") == 2
    assert 'alt="b.png: student"' in page


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    page = write(
        tmp_path / "index.html",
        title=evil,
        rows=[Row(evil, [IMAGE])],
        columns=[evil],
        table=[[evil], [evil]],
        notes=[evil],
    )
    assert "<script" not in page
    assert evil not in page
    assert page.count("&lt;script&gt;") == 9  # each place that takes a text


def test_images_arrive_unchanged() -> None:
    uri = data_uri(torch.cat([IMAGE, torch.full((3, 5, 1), 9.0), torch.full((3, 5, 1), -9.0)], 2))
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
    expected = ((IMAGE + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels[:, :7], expected)
    assert (pixels[:, 7] == 255).all()
    assert (pixels[:, 8] == 0).all()


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
            write(tmp_path / "index.html", title="Another")
    assert (tmp_path / "index.html").read_text() == before
    write(tmp_path / "index.html")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
