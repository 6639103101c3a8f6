"""YAML from strangers: plain data of a bounded size, or one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gan_slimming.data.plain_yaml import MOST_BYTES, read_yaml
from gan_slimming.errors import UserError

LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, r"has the alias \*a in line 2; write its value out"),
        ("[" * 60 + "]" * 60, "nested deeper than 50 levels"),
        ("[" * 100_000, "nested deeper than 50 levels"),
        ("a: [", "is no YAML"),
        ("a: !!python/object:os.system x", "is no YAML"),
        ("a: \x07", "is no YAML"),
        ("x" * (MOST_BYTES + 1), "at most 1,048,576 are read"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as told:
        read_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(told.value)


def test_what_is_no_text_or_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("x.yaml", "not UTF-8"), ("pipe", "no regular"), ("no", "not exist")):
        with pytest.raises(UserError, match=message):
            read_yaml(tmp_path / name)


def test_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: [1, 2]\nb: {c: x}\n")
    assert read_yaml(tmp_path / "x.yaml") == {"a": [1, 2], "b": {"c": "x"}}
