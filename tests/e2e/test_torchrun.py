"""compress in two processes by torchrun: one result, an end of one that ends both, a resumption."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from gan_slimming.cli import main

pytestmark = pytest.mark.slow

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
NET = """
import os
import pathlib
import torch
from torch import nn

class Net(nn.Sequential):
    calls = 0

    def forward(self, x):
        if torch.is_grad_enabled() and x.shape[0] == 2 and os.environ.get("RANK") == "1":
            Net.calls += 1
            if Net.calls > 5 and pathlib.Path("die").exists():
                os._exit(9)
        return super().forward(x)

def net():
    torch.manual_seed(3)
    return Net(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 3, 3, padding=1), nn.Tanh(),
    )
"""
LINE = (
    "--generator tiny:net --data photos --steps 12 --size 32 --batch-size 4 --distill l1 "
    "--budget.macs 0.5 --optimisation.slim_share 0.4 --bits none --checkpoint-seconds 0"
)
FLAGS = tuple(LINE.split())


def compress(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the command in two processes."""
    return subprocess.run(
        [sys.executable, "-m", *TORCHRUN, "gan_slimming", "compress", *flags], cwd=folder,
        capture_output=True, text=True, check=False, timeout=550,
        env=os.environ | {"PYTHONPATH": path(folder)},
    )  # fmt: skip


def steps_of(run: Path) -> list[int]:
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["step"] for line in lines]


def path(folder: Path) -> str:
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "tiny.py").write_text(NET)
    return tmp_path


def test_one_that_dies_ends_the_run_and_another_number_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    assert main(["compress", *FLAGS, "--output", "one"]) == 0
    expected = json.loads(capsys.readouterr().out)
    (folder / "die").touch()
    died = compress(folder, *FLAGS, "--output", "two")
    assert died.returncode != 0
    assert died.stdout == ""
    assert "error: another process of this run has ended" in died.stderr
    (folder / "die").unlink()
    assert 3 <= steps_of(folder / "two")[-1] < 12
    resumed = compress(folder, "--resume", "--generator", "tiny:net", "--output", "two")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("\n") == 1
    told = json.loads(resumed.stdout)
    assert told["macs"] == expected["macs"] < expected["teacher_macs"]
    assert steps_of(folder / "two") == list(range(1, 13))
    one, two = (load_file(folder / name / "generator.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4


def test_a_batch_that_cannot_be_shared_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):  # as torchrun tells its first process
        monkeypatch.setenv(name, "2")
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    assert main(["compress", "--output", "three", *FLAGS, "--batch-size", "3"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: the 3 images")
    assert "cannot be shared equally by 2 processes; take --batch-size 4" in told
    assert not (folder / "three").exists()
