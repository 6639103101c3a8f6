"""What README and the first pages of docs tell people to type: commands, flags, targets, names."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

import gan_slimming
from gan_slimming.cli import COMMANDS
from gan_slimming.cli.parsing import parse
from gan_slimming.config import Run
from gan_slimming.workflows.compress import compress

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = [(ROOT / "docs" / name).read_text("utf-8") for name in ("index.md", "generators.md")]
COMMAND = re.compile(r"^ *(?:\$ )?(?:\.venv/bin/)?gan-slimming (\w.*)$", re.MULTILINE)
LINES = [line for text in (README, *GUIDES) for line in COMMAND.findall(text)]
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_readme_shows_commands_and_python() -> None:
    assert {line.split()[0] for line in LINES} >= {"compress", "inspect", "translate", "demo"}
    assert BLOCKS


@pytest.mark.parametrize("line", LINES)
def test_every_command_line_parses(line: str) -> None:
    name, *words = shlex.split(line, comments=True)
    for i, word in enumerate(words):
        if word.startswith("configs/"):
            words[i] = str(ROOT / word)
    assert parse(COMMANDS[name], f"gan-slimming {name}", words) is not None


@pytest.mark.parametrize("block", BLOCKS)
def test_every_python_block_is_true_to_the_package(block: str) -> None:
    tree = ast.parse(block)
    used = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("gs", "gan_slimming")
    ]
    assert used
    missing = [name for name in used if name not in gan_slimming.__all__]
    assert missing == []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("gs."):
            takes = accepted(ast.unparse(node.func).removeprefix("gs."))
            assert {keyword.arg for keyword in node.keywords} <= takes


def accepted(name: str) -> set[str | None]:
    """Keywords that a public name takes."""
    function = getattr(gan_slimming, name)
    names = set(inspect.signature(function).parameters)
    return {*names, *(field.name for field in fields(Run))} if function is compress else {*names}


def test_every_make_target_and_link_exists() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^ *make ([\w-]+)", README, re.MULTILINE)) <= set(targets)
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
