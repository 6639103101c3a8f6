"""compress --student: the small generator of one run is where the next one starts."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import gan_slimming as gs
from gan_slimming.cli import main
from gan_slimming.models.registry import build_generator
from gan_slimming.serialization.generator_file import read_header

Capture = pytest.CaptureFixture[str]
TEACHER = [
    "--generator", "cartoongan", "--generator-args", '{"width": 8, "blocks": 1}',
    "--weights", "weights.pth", "--data", "photos",
]  # fmt: skip
QUICK = [
    "--size", "32", "--batch-size", "1", "--holdout", "1", "--device", "cpu", "--distill", "l1",
    "--precision", "32-true", "--threads", "1", "--adversarial", "none",
    "--optimisation.recover_lr", "0.003",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """weights.pth, photos/ and first/, a run of few steps at half the multiply-accumulates."""
    root = tmp_path_factory.mktemp("place")
    torch.manual_seed(0)
    torch.save(build_generator("cartoongan", width=8, blocks=1).state_dict(), root / "weights.pth")
    (root / "photos").mkdir()
    random = np.random.default_rng(0)
    for i in range(4):
        pixels = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(root / "photos" / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        shape = ["--budget.macs", "0.5", "--steps", "8", "--optimisation.slim_share", "0.5"]
        assert main(["compress", *TEACHER, *QUICK, *shape, "--output", "first"]) == 0
    return root


@pytest.fixture
def world(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def further(capsys: Capture, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["compress", *TEACHER, *QUICK, *words]) == 0
    summary: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return summary


def test_it_starts_where_the_student_was_and_keeps_its_size(world: Path, capsys: Capture) -> None:
    first = json.loads((world / "first" / "summary.json").read_text())
    # A rate at which nothing moves: what comes out is what came in.
    still = ["--steps", "1", "--optimisation.recover_lr", "1e-12", "--output", "still"]
    same = further(capsys, "--student", "first", *still)
    assert (same["macs"], same["parameters"]) == (first["macs"], first["parameters"])
    assert same["macs"] < 0.51 * same["teacher_macs"]
    assert same["l1"] == pytest.approx(first["l1"], rel=0.02)
    more = further(capsys, "--student", "first", "--steps", "60", "--output", "more")
    assert more["l1"] < 0.95 * first["l1"]
    assert more["macs"] == first["macs"]


def test_the_file_loads_and_tells_its_teacher_from_its_student(
    world: Path, capsys: Capture
) -> None:
    further(capsys, "--student", "first/generator.safetensors", "--steps", "2", "--output", "more")
    origins = [read_header(Path(run, "generator.safetensors"))["provenance"] for run in
               ("first", "more")]  # fmt: skip
    assert origins[1]["teacher_sha256"] == origins[0]["teacher_sha256"]
    assert origins[0]["start_sha256"] == origins[0]["teacher_sha256"]
    assert origins[1]["start_sha256"] != origins[1]["teacher_sha256"]
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    drawn = gs.load_generator_file("more/generator.safetensors")(image)
    assert drawn.shape == image.shape


def test_its_quantisers_go_where_none_are_asked_for(world: Path, capsys: Capture) -> None:
    summary = further(
        capsys, "--student", "first", "--bits", "none", "--steps", "2", "--output", "float"
    )
    assert summary["size_bytes"] > 4 * summary["parameters"]
    assert read_header(Path("float", "generator.safetensors"))["quantized"] == {}


def test_with_a_budget_it_is_slimmed_further(world: Path, capsys: Capture) -> None:
    shape = ["--budget.macs", "0.25", "--steps", "8", "--optimisation.slim_share", "0.5"]
    summary = further(capsys, "--student", "first", *shape, "--output", "smaller")
    # A quarter of the teacher's, which is half of the student's.
    assert 0.2 * summary["teacher_macs"] < summary["macs"] <= 0.25 * summary["teacher_macs"]


def test_it_resumes_from_the_same_student_only(
    world: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ["--student", "first", "--steps", "6"]
    further(capsys, *wanted, "--output", "whole")
    monkeypatch.setattr("gan_slimming.cli.progress.step_bar", stopping_at(3))
    assert main(["compress", *TEACHER, *QUICK, *wanted, "--output", "parts"]) == 130
    monkeypatch.undo()
    monkeypatch.chdir(world)
    shutil.move("first", "moved")
    capsys.readouterr()
    assert main(["compress", "--resume", "--output", "parts"]) == 2
    assert "first" in capsys.readouterr().err
    assert main(["compress", "--resume", "--output", "parts", "--student", "whole"]) == 2
    assert "was started from another student" in capsys.readouterr().err
    assert main(["compress", "--resume", "--output", "parts", "--student", "moved"]) == 0
    whole, parts = (load_file(Path(run, "generator.safetensors")) for run in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def stopping_at(last: int) -> Callable[[], Any]:
    """A progress bar that presses Ctrl-C."""

    class Bar:
        def __enter__(self) -> Callable[[int, int, dict[str, float]], None]:
            return self.step

        def __exit__(self, *_: object) -> None:
            pass

        def step(self, step: int, total: int, terms: dict[str, float]) -> None:
            if step == last:
                signal.raise_signal(signal.SIGINT)

    return Bar


def test_no_size_need_be_said_only_with_a_student(world: Path, capsys: Capture) -> None:
    assert main(["compress", *TEACHER, *QUICK, "--output", "new"]) == 2
    assert "say how small it shall be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--student nowhere", "nowhere"),
        ("--student photos", "photos holds no generator.safetensors"),
        ("--student weights.pth", "weights.pth"),
        ("--student first --output first --overwrite", "first holds first, which this run reads"),
    ],
)
def test_a_wrong_student_is_one_line(world: Path, capsys: Capture, words: str, text: str) -> None:
    line = words if "--output" in words else f"{words} --output new"
    capsys.readouterr()
    assert main(["compress", *TEACHER, *QUICK, "--steps", "2", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 1
    assert text in err
    assert (world / "first" / "generator.safetensors").is_file()
    assert not (world / "new").exists()


def test_a_student_that_takes_something_else_is_refused(world: Path, capsys: Capture) -> None:
    """CartoonGAN takes BGR and CycleGAN RGB: each would learn the other's colours."""
    torch.save(build_generator("cyclegan", width=4, blocks=1).state_dict(), "cyclegan.pth")
    other = ["--generator", "cyclegan", "--generator-args", '{"width": 4, "blocks": 1}',
             "--weights", "cyclegan.pth", "--data", "photos"]  # fmt: skip
    assert main(["compress", *other, *QUICK, "--student", "first", "--output", "new"]) == 2
    assert "does not take and give what its teacher does" in capsys.readouterr().err


def test_a_run_is_repeated_with_its_settings_alone(world: Path, capsys: Capture) -> None:
    clock = ["--budget.macs", "0.5", "--minutes", "0.01"]
    first = further(capsys, *clock, "--output", "clocked")
    capsys.readouterr()
    assert main(["compress", "--repeat", "clocked", "--output", "again"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (again["steps"], again["macs"]) == (first["steps"], first["macs"])
    one, other = (load_file(Path(run, "generator.safetensors")) for run in ("clocked", "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    for words, text in (
        ("--repeat clocked --output clocked --overwrite", "is the run to repeat; name another"),
        ("--repeat clocked --output again --resume", "is resumed without --repeat"),
        ("--repeat photos --output new", "photos is no run folder"),
    ):
        assert main(["compress", *words.split()]) == 2
        assert text in capsys.readouterr().err
