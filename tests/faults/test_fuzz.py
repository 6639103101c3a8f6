"""A few damaged files of each kind; `make fuzz` takes thousands."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from tests.faults import mutations
from tests.faults.fuzz import Record, State, make
from tests.faults.kinds import damage, read

KINDS = ("images", "generators", "weights", "runs")
"""Those whose real files are made at once."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(kind, tmp_path)
    found = set()
    for number in range(12):
        file = damage(kind, number, tmp_path)
        content = file.read_bytes() if file.is_file() else b""
        again = damage(kind, number, tmp_path)
        assert (again.read_bytes() if again.is_file() else b"") == content
        found.add(read(kind, number, file))
    assert found <= {"read", "refused"}


def test_every_damage_changes_files() -> None:
    content, other = bytes(range(256)) * 8 + b'{"width": 64}', b"other" * 100
    for way in mutations.DAMAGES:
        changed = sum(way(content, other, Random(seed)) != content for seed in range(20))
        assert changed >= 12, way.__name__


def test_a_record_goes_on_with_the_next_file(tmp_path: Path) -> None:
    file, images = tmp_path / "record.json", State("images", tmp_path / "images", 0)
    images.counts.update(read=3, refused=4)
    images.next, images.peak = 7, 9 << 20
    Record(file).write({"images": images}, 5.4)
    again = {name: State(name, tmp_path / name, 0) for name in ("images", "runs")}
    record = Record(file)
    record.go_on(again)
    assert again["images"].told() == images.told()
    assert again["runs"].next == 0
    again["images"].counts["read"] += 2
    record.write(again, 1.0)
    assert [session["files"] for session in Record(file).sessions] == [7, 2]
