"""docs/files.md: its walk-through is run as it stands, and says what is printed."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_slimming.cli import COMMANDS, main
from gan_slimming.cli.parsing import parse

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
PAGES = [PAGE, (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")]
COMMAND = re.compile(r"^    gan-slimming (.*)$", re.MULTILINE)
LINES = [line for page in PAGES for line in COMMAND.findall(page)]


@pytest.mark.parametrize("line", LINES)
def test_every_command_parses(line: str) -> None:
    name, *words = shlex.split(line, comments=True)
    assert parse(COMMANDS[name], name, words) is not None


@pytest.mark.filterwarnings("default")
def test_the_walk_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, code in re.findall(r'^```python title="(.*?)"\n(.*?)^```', PAGE, re.M | re.S):
        Path(name).write_text(code)
    runpy.run_path("make_example.py")
    photos(tmp_path / "photos")
    walk = PAGE.partition("## What is found")[0]
    said = re.findall(r"^```text\n(.*?)\n```", walk, re.M | re.S)
    look, rename, compress, use = COMMAND.findall(walk)
    assert main(shlex.split(look)) == 2
    assert capsys.readouterr().err.splitlines()[-1] == said[0]
    assert main(shlex.split(rename)) == 0
    assert said[1] in capsys.readouterr().err
    assert main(shlex.split(compress)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["macs"] <= 0.3 * told["teacher_macs"]
    assert main(shlex.split(use)) == 0
    assert json.loads(capsys.readouterr().out)["translated"] == 12


def photos(folder: Path) -> None:
    folder.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


PATHS = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", "".join(PAGES))


@pytest.mark.parametrize(("path", "test"), sorted(set(PATHS)))
def test_every_test_that_is_named_exists(path: str, test: str) -> None:
    assert (ROOT / path).is_file()
    assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8")
