"""Several runs on one page: Pareto plots, common images, a section for each."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.run_folders import finished_run, run_under_way

from gan_slimming.errors import UserError
from gan_slimming.reports.comparison import compare


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two finished runs of one teacher, and one under way."""
    return [
        finished_run(tmp_path / "small"),
        finished_run(tmp_path / "large", seed=1),
        run_under_way(tmp_path / "young", steps=7),
    ]


def test_the_page_has_the_frontier_and_a_section_for_each_run(
    runs: list[Path], tmp_path: Path
) -> None:
    page = tmp_path / "all.html"
    result = compare(runs, page)
    text = page.read_text()
    assert result["report"] == str(page)
    assert [(r["run"], r["finished"], r["steps"]) for r in result["runs"]] == [
        (str(runs[0]), True, 40), (str(runs[1]), True, 40), (str(runs[2]), False, 7)
    ]  # fmt: skip
    assert "2 finished, 1 under way." in text
    titles = re.findall(r"<figcaption><b>([^<]*)</b>", text)
    for title in ("LPIPS against MACs", "LPIPS against bytes", "PSNR against bytes"):
        assert title in titles
    assert text.count('class="frontier"') == 4  # both take as long: the better one alone is there
    headings = re.findall(r"<h2>([^<]*)</h2>", text)
    assert headings[-3:] == ["small", "large", "young"]


def test_images_that_all_runs_show_stand_side_by_side(runs: list[Path], tmp_path: Path) -> None:
    (runs[1] / "samples" / "03_input_teacher_student.png").unlink()
    compare(runs, tmp_path / "all.html")
    text = (tmp_path / "all.html").read_text()
    views = re.findall(r'data-view="([^"]*)"', text)
    assert views == ["input", "teacher", "small", "large"] * 4
    assert 'data-before="small" data-after="large"' in text
    assert "photo3.jpg" not in text.partition("<h2>Quality")[0]


def test_runs_of_different_images_share_no_gallery(runs: list[Path], tmp_path: Path) -> None:
    other = finished_run(tmp_path / "other", side=16)
    compare([runs[0], other], tmp_path / "all.html")
    text = (tmp_path / "all.html").read_text()
    assert "Held-out images" not in text
    assert "measured on different images or at different sizes" in text


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [run_under_way(tmp_path / side / "run") for side in ("a", "b")]
    compare(folders, tmp_path / "all.html")
    text = (tmp_path / "all.html").read_text()
    assert f"<h2>{folders[0]}</h2>" in text
    assert f"<h2>{folders[1]}</h2>" in text


def test_a_run_that_is_named_twice_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="named twice"):
        compare([runs[0], runs[0] / "." / ".." / runs[0].name], tmp_path / "all.html")


def test_a_run_of_version_0_1_is_compared_on_the_same_images(tmp_path: Path) -> None:
    folders = [finished_run(tmp_path / name) for name in ("old", "new")]
    for folder, counts in zip(folders, ({}, {"images": 4}), strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        rest = {k: v for k, v in summary["protocol"].items() if k != "images"}
        summary["protocol"] = {**counts, **rest, "pictures": 4}
        (folder / "summary.json").write_text(json.dumps(summary))
        config = folder / "config.yaml"
        config.write_text(config.read_text().replace(str(folder), "photos"))
    compare(folders, tmp_path / "all.html")
    assert "measured on different images" not in (tmp_path / "all.html").read_text()
