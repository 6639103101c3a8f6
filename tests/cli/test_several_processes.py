"""What processes that follow the first say, and what docs/scaling.md tells people to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gan_slimming import cli
from gan_slimming.cli import main
from gan_slimming.cli.commands import compress
from gan_slimming.cli.parsing import parse
from gan_slimming.cli.sweep_command import arranged, grid_of
from gan_slimming.config import Run
from gan_slimming.errors import UserError
from gan_slimming.training.device import make_fabric

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text("utf-8")


def test_a_follower_waits_for_the_first_and_then_speaks_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(cli.time, "sleep", waited.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(["compress", "--output", "o"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("process 1: error: name the teacher")
    assert err.count("\n") == 1
    assert waited == [cli.PATIENCE]
    assert main(["--version"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_processes_that_share_a_run_have_a_device_each(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(
        "gan_slimming.training.device.choose_device", lambda name: torch.device(name)
    )
    with pytest.raises(UserError, match=f"torchrun needs --device cpu or cuda, got {device}"):
        make_fabric(Run(device=device), torch.nn.Identity(), ())


@pytest.mark.parametrize("line", re.findall(r"^    torchrun .*-m gan_slimming (.*)$", PAGE, re.M))
def test_every_shared_run_parses(line: str) -> None:
    name, *words = shlex.split(line)
    assert name == "compress"
    assert parse(compress, name, words) is not None


@pytest.mark.parametrize("line", re.findall(r"^    gan-slimming sweep (.*)$", PAGE, re.M))
def test_every_sweep_is_a_grid(line: str) -> None:
    words = arranged(shlex.split(line))
    grid = grid_of(words[words.index("--") + 1 :])
    assert "macs-0.02_seed-0" in grid
    assert len(grid) == 6
