"""Every test that is marked int8 runs as on each kind of CPU."""

from pathlib import Path

import pytest
from tests.every_cpu import marked_files


def test_files_with_a_mark_are_found(tmp_path: Path) -> None:
    (tmp_path / "unit").mkdir()
    marked = tmp_path / "unit" / "test_a.py"
    marked.write_text("pytestmark = pytest.mark.int8")
    (tmp_path / "test_b.py").write_text("pytestmark = pytest.mark.slow")
    assert marked_files(tmp_path) == [marked]


def test_no_marked_test_is_forgotten(request: pytest.FixtureRequest) -> None:
    """Of all that this run collected: of every test where the whole suite runs."""
    files = set(marked_files())
    assert len(files) >= 6
    marked = [item for item in request.session.items if item.get_closest_marker("int8")]
    assert [item.nodeid for item in marked if item.path not in files] == []
