"""The examples run as they stand, and what they print is true."""

from __future__ import annotations

import json
import re
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_slimming.cli import main
from gan_slimming.perceptual import lpips
from gan_slimming.serialization.resolve import RandomWeightsWarning

EXAMPLES = Path(__file__).parents[2] / "examples"
Capture = pytest.CaptureFixture[str]


def run(name: str, *arguments: object) -> None:
    before = sys.argv
    sys.argv = [name, *map(str, arguments)]
    try:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    finally:
        sys.argv = before


def test_examples_are_as_short_as_promised() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert lengths.keys() == {"method.py", "own_generator.py"}
    assert lengths["method.py"] < 100
    assert lengths["own_generator.py"] <= 40


def test_the_method_finds_the_channels_that_matter(capsys: Capture) -> None:
    run("method.py")
    prepared, _, reached, recovered, extracted = capsys.readouterr().out.splitlines()

    def number(pattern: str, line: str) -> float:
        found = re.search(pattern, line)
        assert found, line
        return float(found[1])

    assert "16 of 16, 16 of 16 channels" in prepared
    assert "8 of 16, 8 of 16 channels" in reached
    cut = number(r"([\d.]+) away", reached)
    final = number(r"([\d.]+) away", recovered)
    assert final < cut < 0.05
    assert number(r"([\d.]+)% of the work", recovered) <= 33
    assert number(r"([\de.+-]+) from the student", extracted) < 1e-5


def test_a_generator_of_ones_own(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # nothing to measure
    monkeypatch.setattr(lpips, "find_weights", lambda name: None)
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for i in range(3):
        coarse = random.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 40)).save(tmp_path / "photos" / f"{i}.png")
    run("own_generator.py", tmp_path / "photos", tmp_path / "run")
    found = re.fullmatch(r"(\d+)% of the work, (\d+) bytes of (\d+)\n", capsys.readouterr().out)
    assert found
    share, size, teacher = map(int, found.groups())
    assert 20 < share <= 30
    assert size < teacher / 4
    assert (tmp_path / "run" / "generator.safetensors").stat().st_size == size


def test_the_same_generator_from_a_shell(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    words = ["inspect", "own_generator:UNet", "--generator-args", '{"width": 4}', "--size", "16"]
    with warnings.catch_warnings():
        warnings.simplefilter("always", RandomWeightsWarning)
        assert main(words) == 0
    out, err = capsys.readouterr()
    assert "own_generator:UNet has the weights that its factory gives it" in err
    report = json.loads(out)
    assert report["model"] == "own_generator:UNet(width=4)"
    assert {group["channels"] for group in report["groups"]} >= {4, 8}
