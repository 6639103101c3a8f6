"""docs/web.md: its commands parse, and its version of the runtime is the one that pages get."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gan_slimming.cli import COMMANDS
from gan_slimming.cli.parsing import parse
from gan_slimming.reports.web.runtime_files import VERSION

PAGE = (Path(__file__).parents[2] / "docs" / "web.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"^ +gan-slimming (.*)$", PAGE, re.MULTILINE))
def test_every_command_parses(line: str) -> None:
    name, *words = shlex.split(line)
    assert parse(COMMANDS[name], name, words) is not None


def test_the_version_is_that_of_the_runtime() -> None:
    found = re.findall(r"onnxruntime-web[@-]([\d.]+\d)", PAGE)
    assert found
    assert set(found) == {VERSION}
