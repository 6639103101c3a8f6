"""Errors are one line of a length that people read, whatever came."""

from __future__ import annotations

from pathlib import Path

from gan_slimming.data.image_files import ImageError
from gan_slimming.errors import MOST_TEXT, UserError


def test_what_came_breaks_no_line() -> None:
    assert (
        str(UserError("width must be 1, got 'a\nb\r\n\u2028c'")) == "width must be 1, got 'a b  c'"
    )
    assert str(ImageError(Path("a\nb.png"), "x\ny")) == "cannot read image a b.png: x y"
    assert str(UserError("two  spaces in a/my  folder")) == "two  spaces in a/my  folder"


def test_what_came_may_be_long() -> None:
    text = str(UserError(f"got {'x' * 10_000}; write 1"))
    assert len(text) < MOST_TEXT + 10
    assert text.startswith("got xxx")
    assert text.endswith("xxx; write 1")
