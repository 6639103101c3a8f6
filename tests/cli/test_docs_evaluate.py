"""docs/evaluate.md names every metric, and its commands parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gan_slimming.cli import COMMANDS
from gan_slimming.cli.parsing import parse
from gan_slimming.metrics.catalogue import METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text(encoding="utf-8")


def test_every_metric_is_told() -> None:
    assert all(f"`{name}`" in PAGE for name in METRICS)


@pytest.mark.parametrize("line", re.findall(r"^    gan-slimming (.*)$", PAGE, re.MULTILINE))
def test_every_command_parses(line: str) -> None:
    name, *words = shlex.split(line)
    assert parse(COMMANDS[name], name, words) is not None


@pytest.mark.parametrize("name", METRICS)
def test_the_page_and_the_table_agree_on_directions(name: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith("|") and f"`{name}`" in line)
    if not name.endswith("_squeezenet"):
        assert f"| {METRICS[name].direction} |" in row
