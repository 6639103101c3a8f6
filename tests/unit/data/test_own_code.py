"""Objects of the user's own code are imported by name, also from the current folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gan_slimming.data.own_code import call_factory
from gan_slimming.errors import UserError


def test_the_current_folder_is_searched_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "found_here.py").write_text(
        "class Inner:\n    make = staticmethod(lambda a: a + 1)"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    before = list(sys.path)
    assert call_factory("thing", "found_here:Inner.make", {"a": 2}) == 3
    assert sys.path == before


def test_errors_name_the_kind() -> None:
    with pytest.raises(UserError, match="a thing of your own is named package"):
        call_factory("thing", "math", {})
    with pytest.raises(UserError, match="thing math:sqrt failed with TypeError"):
        call_factory("thing", "math:sqrt", {"wrong": 1})
