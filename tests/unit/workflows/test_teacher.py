"""teacher: every kind from the command's workflow, a stop and a resume, and mistakes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.unit.experiments.teachers.conftest import cifar, pair

from gan_slimming.errors import Interrupted, UserError
from gan_slimming.models import load_discriminator, load_generator
from gan_slimming.serialization.generator_file import load_generator_file
from gan_slimming.workflows.teacher import teacher

__all__ = ["cifar", "pair"]
Sources = Callable[[str], dict[str, Any]]
NAMES = ("sngan", "cyclegan", "adaptive-style")


@pytest.fixture
def sources(cifar: Path, pair: tuple[Path, Path]) -> Sources:
    """The images of each teacher."""
    two = {"data": pair[0], "targets": pair[1]}
    return lambda name: {"data": cifar} if name == "sngan" else two


def stop_at(step: int) -> Callable[[int, int, dict[str, float]], None]:
    def on_step(at: int, steps: int, terms: dict[str, float]) -> None:
        if at == step:
            os.kill(os.getpid(), signal.SIGINT)

    return on_step


def networks(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.safetensors")}


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_ends_in_the_same_files(name: str, sources: Sources, tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    teacher(
        name, output=whole, scale="smoke", on_step=lambda *a: told.append(a[2]), **sources(name)
    )
    assert len(told) == 6
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in told)
    with pytest.raises(Interrupted, match=f"50% of the run, .* gan-slimming teacher {name} --resu"):
        teacher(name, output=parts, scale="smoke", on_step=stop_at(3), **sources(name))
    torch.rand(7)  # the state of the global generator must not matter
    summary = teacher(name, None, parts, resume=True)
    assert networks(parts) == networks(whole)
    assert summary["steps"] == 6
    steps = [
        json.loads(line)["step"] for line in (parts / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", NAMES)
def test_both_files_hold_the_same_generator(name: str, sources: Sources, tmp_path: Path) -> None:
    summary = teacher(name, output=tmp_path / "run", scale="smoke", **sources(name))
    saved = load_generator_file(summary["generator"])
    plain = load_generator(name, summary["networks"]["teacher"])
    one, two = saved.state_dict(), plain.state_dict()
    assert all(torch.equal(one[key], two[key]) for key in two if "num_batches" not in key)
    assert summary["parameters"] == sum(p.numel() for p in plain.parameters())
    assert (tmp_path / "run/samples/step_0000006.png").is_file()


@pytest.mark.parametrize(("name", "kind"), [("sngan", "sngan"), ("cyclegan", "patchgan")])
def test_discriminators_play_on(name: str, kind: str, sources: Sources, tmp_path: Path) -> None:
    summary = teacher(name, output=tmp_path / "run", scale="smoke", **sources(name))
    network = load_discriminator(kind, summary["networks"]["discriminator"])
    assert network(torch.zeros(1, 3, 32, 32)).isfinite().all()


def test_by_the_clock(cifar: Path, tmp_path: Path) -> None:
    shares: list[tuple[int, int]] = []
    summary = teacher(
        "sngan", cifar, tmp_path / "run", scale="smoke", minutes=0.01,
        on_step=lambda step, steps, terms: shares.append((step, steps)),
    )  # fmt: skip
    assert summary["seconds"] >= 0.6
    assert summary["steps"] == len(shares) == shares[-1][0] == shares[-1][1]


def test_overwriting_removes_what_a_run_makes(cifar: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    teacher("sngan", cifar, run, scale="smoke")
    (run / "notes.txt").write_text("mine")
    (run / "teacher_back.safetensors").write_text("of an earlier run")
    with pytest.raises(UserError, match="exists and is not empty"):
        teacher("sngan", cifar, run, scale="smoke")
    teacher("sngan", cifar, run, scale="smoke", overwrite=True, seed=1)
    assert (run / "notes.txt").read_text() == "mine"
    assert not (run / "teacher_back.safetensors").exists()


def test_mistakes(cifar: Path, pair: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    for arguments, text in [
        (("stylegan", cifar, run), "no teacher is called 'stylegan'; take one of sngan"),
        (("sngan", None, run), "name the images to train on: --data"),
        (("cyclegan", pair[0], run), "--targets FOLDER"),
        (("sngan", pair[0], run), "holds no train images of CIFAR-10"),
        (("sngan", tmp_path / "absent", run), "no such file or folder"),
    ]:
        with pytest.raises(UserError, match=text):
            teacher(*arguments, scale="smoke")
    with pytest.raises(UserError, match="leave out"):
        teacher("sngan", cifar, run, targets=pair[0], scale="smoke")
    assert not run.exists()


def test_a_resumed_run_keeps_its_images_and_its_kind(cifar: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        teacher("sngan", cifar, run, scale="smoke", on_step=stop_at(2))
    with pytest.raises(UserError, match="trains sngan, got cyclegan"):
        teacher("cyclegan", None, run, resume=True)
    next((cifar / "train/frog").iterdir()).unlink()
    with pytest.raises(UserError, match="other images"):
        teacher("sngan", None, run, resume=True)
