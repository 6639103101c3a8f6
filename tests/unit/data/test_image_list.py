"""The list of a run's images."""

from __future__ import annotations

from pathlib import Path

from gan_slimming.data import image_list as module
from gan_slimming.data.image_list import changes, list_set


def test_every_change_of_a_folder_is_seen(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "deep/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "notes.txt").write_text("x")
    before = list_set("data", tmp_path)
    assert [row["name"] for row in before] == ["a.png", "b.png", "deep/c.jpg"]
    assert changes(before, list_set("data", tmp_path)) is None
    (tmp_path / "a.png").write_bytes(b"A.png")
    (tmp_path / "deep" / "c.jpg").rename(tmp_path / "d.jpg")
    (tmp_path / "b.png").unlink()
    (tmp_path / "e.png").write_bytes(b"e")
    told = changes(before, list_set("data", tmp_path))
    expected = "a.png has changed, b.png is missing, deep/c.jpg is now d.jpg and 1 more"
    assert told == expected
    assert list_set("data", None) == []


def test_of_large_files_three_pieces_are_read(tmp_path: Path) -> None:
    content = bytearray(module.WHOLE_BYTES + 100)
    file = tmp_path / "a.png"
    digests = set()
    for place in (None, 0, len(content) // 2, len(content) - 1):
        changed = bytearray(content)
        if place is not None:
            changed[place] = 1
        file.write_bytes(changed)
        digests.add(list_set("data", tmp_path)[0]["sha256"])
    file.write_bytes(content + b"\0")
    digests.add(list_set("data", tmp_path)[0]["sha256"])
    assert len(digests) == 5
