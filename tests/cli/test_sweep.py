"""The grid of a sweep, from its command line, and a sweep of real runs on a local Ray."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_slimming.cli import main
from gan_slimming.cli.sweep_command import arranged, grid_of

Capture = pytest.CaptureFixture[str]


def test_own_flags_go_first() -> None:
    line = "--budget.macs 0.02,0.05 --output o --workers=2 --seed 1 --ray auto"
    assert arranged(line.split()) == [
        *("--output", "o", "--workers=2", "--ray", "auto", "--"),
        *("--budget.macs", "0.02,0.05", "--seed", "1"),
    ]
    assert arranged(["--seed", "1", "-h"]) == ["--help"]


def test_the_grid_is_all_combinations() -> None:
    line = "--budget.bytes 0.02,300k --seed=1,2 --generator a.b:c,d --fix-noise --protect x y"
    rest = ["--generator", "a.b:c,d", "--fix-noise", "--protect", "x", "y"]
    assert grid_of(line.split()) == {
        f"bytes-{size}_seed-{seed}": ["--budget.bytes", size, "--seed", seed, *rest]
        for size in ("0.02", "300k")
        for seed in ("1", "2")
    }


def test_methods_amounts_and_american_spellings_have_several_values_and_lists_do_not() -> None:
    line = "--optimization.optimizer muon,adam --bits 8,none --target.psnr 24,26 --distill l1,lpips"
    assert len(grid_of(line.split())) == 16
    assert len(grid_of(["--optimisation.betas", "[0.5,0.9]", "--data", "a,b"])) == 1
    assert list(grid_of(["--seed", "3,3,4"])) == ["seed-3", "seed-4"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--output o", "FLAGS missing"),
        ("--output o --budget.macs 0.1", "no flag has several values; write --budget.macs 0.02,"),
        ("--output o --budget.macs 0.1,5", "budget.macs must be in (0, 1] or an amount such as"),
        ("--output o --stps 3,4", "sweep has no flag --stps; did you mean --steps?"),
        ("--output o --seed 1,x", "--seed must be a whole number; got x"),
        ("--output o --resume --seed 1,2", "a sweep goes on by itself; leave out --resume"),
        ("--seed 1,2", "--output missing"),
        ("--output o --seed 1,2 --workers 0", "workers must be at least 1, got 0"),
        ("--output o --seed 1,2 --workers 2 --ray auto", "name --workers or --ray, not both"),
    ],
)
def test_a_mistake_is_one_line(line: str, text: str, capsys: Capture) -> None:
    assert main(["sweep", *line.split()]) == 2
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_real_runs_on_a_local_ray(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("ray", reason="ray is not installed; it is the extra [sweep]")
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    (tmp_path / "tiny.py").write_text(TINY)
    output = tmp_path / "sweep"
    line = (
        f"sweep --generator tiny:net --data {photos} --budget.macs 0.4,0.6 --output {output} "
        "--steps 3 --size 32 --distill l1 --ray local"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv("RAY_raylet_start_wait_time_s", "300")  # on a busy machine
        status = main(line.split())
    out, err = capsys.readouterr()
    if "no Ray cluster at local: The current node timed out" in err:
        pytest.skip("Ray does not start on a machine as busy as this one")
    assert status == 0, err
    found = json.loads(out.splitlines()[-1])
    assert [row["trial"] for row in found] == ["macs-0.4", "macs-0.6"]
    assert found[0]["macs"] < found[1]["macs"] <= 0.6 * found[1]["teacher_macs"]
    assert (output / "comparison.html").is_file()


TINY = """
from torch import nn

def net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 3, 3, padding=1), nn.Tanh(),
    )
"""
