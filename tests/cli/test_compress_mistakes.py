"""compress, as a user types it, with everything wrong that a user can get wrong."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_slimming.cli import main
from gan_slimming.models.registry import build_generator
from gan_slimming.perceptual import lpips

Capture = pytest.CaptureFixture[str]
RANDOM = np.random.default_rng(0)
QUICK = {
    "--size": 32, "--steps": 2, "--batch-size": 1, "--holdout": 1, "--device": "cpu",
    "--precision": "32-true", "--threads": 1, "--distill": "l1", "--optimisation.slim_share": 0.5,
    "--optimisation.discriminator_width": 2,
}  # fmt: skip


def draw(path: Path, mode: str = "RGB", side: int = 24) -> None:
    """An image of noise; a mode of Pillow's, or 16 for sixteen bits."""
    if mode == "16":
        Image.fromarray(RANDOM.integers(0, 65536, (side, side), dtype=np.uint16)).save(path)
    else:
        pixels = RANDOM.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """weights.pth of a tiny generator, photos/, empty/ and broken/."""
    root = tmp_path_factory.mktemp("place")
    generator = build_generator("cartoongan", width=4, blocks=1)
    torch.save(generator.state_dict(), root / "weights.pth")
    for name in ("photos", "empty", "broken"):
        (root / name).mkdir()
    for i in range(3):
        draw(root / "photos" / f"{i}.png")
    (root / "broken" / "text.jpg").write_text("no image")
    (root / "broken" / "empty.png").write_bytes(b"")
    draw(root / "broken" / "one.png", side=1)
    return root


@pytest.fixture
def world(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a copy of the place; no feature weights are at hand."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lpips, "find_weights", lambda name: None)
    return tmp_path


def arguments(line: str) -> list[str]:
    """What is not said in `line` is right."""
    given = line.split()
    defaults = {flag: str(value) for flag, value in QUICK.items()} | {
        "--generator": "cartoongan",
        "--generator-args": '{"width": 4, "blocks": 1}',
        "--weights": "weights.pth",
        "--data": "photos",
        "--output": "run",
        "--budget.macs": "0.5",
    }
    sized = any(flag in line for flag in ("--budget.", "--rho", "--target."))
    if sized or "--resume" in given:
        del defaults["--budget.macs"]
    words = [w for flag, value in defaults.items() if flag not in given for w in (flag, value)]
    return ["compress", *words, *given]


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def refused(world: Path, capsys: Capture) -> Callable[[str], str]:
    """Run a line that must fail, see that nothing on disk changed, return the one line."""

    def run(line: str) -> str:
        before = files(world), sorted(world.rglob("*"))
        assert main(arguments(line)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        lines = err.splitlines()
        assert [text for text in lines if text.startswith("error: ")] == lines
        assert len(lines) == 1
        assert (files(world), sorted(world.rglob("*"))) == before
        return lines[0]

    return run


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--data nowhere", "no such file or folder: nowhere"),
        ("--data weights.pth", "expected, got the file weights.pth"),
        ("--data empty", "no images found in empty"),
        ("--data broken", "broken holds 0 usable images, at least 2 are needed (3 of 3 files"),
        ("--targets empty", "no images found in empty"),
        ("--holdout 10", "cannot hold out 10 of 3 images"),
        ("--weights nowhere.pth", "nowhere.pth does not exist"),
        ('--generator-args {"width":8}', "expected 32x32x3x3"),
        ('--generator-args {"widht":4}', "cartoongan has no argument widht; it takes width"),
        ("--generator cartoon", "no generator is called 'cartoon'"),
        ("--generator nowhere:net", "generator nowhere:net failed with ModuleNotFoundError"),
        ("--budget.macs 0", "budget.macs must be in (0, 1]"),
        ("--budget.macs 5", "write 0.05 for 5 %"),
        ("--budget.macs 0.001", "cannot be met: with one channel left in each of"),
        ("--budget.bytes 2k", "budget.bytes of 2,000 cannot be met"),
        ("--budget.macs 0.5 --rho 0.1", "only one of them; got a budget and rho"),
        ("--size 34", "size must be a multiple of 4 and at least 8 for this generator, got 34"),
        ("--size 16", "size must be at least 32 pixels, got 16"),
        ("--device tpu", "device must be auto, cpu, cuda or mps, got tpu"),
        ("--device cuda", "no CUDA device is here; use --device cpu"),
        ("--device mps", "this machine has none; use --device cpu"),
        ("--precision 7", "precision must be auto, 32-true or bf16-mixed, got 7"),
        ("--protect nothing*", "protect names no module of the generator: 'nothing*'"),
        ("--target.psnr 20", "judged on at least 8 held-out images, here are 1; hold out more"),
        ("--repeat photos", "photos is no run folder"),
        ("--repeat run", "run is the run to repeat; name another --output"),
        ("--frobnicate", "has no flag --frobnicate"),
        ("--resume", "run is no run folder: it has no config.yaml"),
        ("--resume --output photos", "photos is no run folder"),
        ("--output photos", "photos exists and is not empty; name another --output"),
        ("--output photos --overwrite", "photos is not a run folder, so it is not overwritten"),
        ("--output weights.pth", "weights.pth is a file; name another --output"),
        ("--output weights.pth/run", "cannot make the folder weights.pth/run"),
        ("--activation-range -1", "activation_range must be above 0"),
        ("--optimisation.betas [2,3]", "betas must be two numbers in [0, 1)"),
        ("--optimisation.gate_momentum 1", "gate_momentum must be in [0, 1)"),
        ("--optimisation.weight_decay -1", "weight_decay must be 0 or more"),
        ("--optimisation.discriminator_width 0", "discriminator_width must be at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_trace(
    refused: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, line: str, text: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert text in refused(line)


def test_a_teacher_without_weights_is_refused(world: Path, capsys: Capture) -> None:
    given = arguments("")
    at = given.index("--weights")
    assert main(given[:at] + given[at + 2 :]) == 2
    assert "cartoongan without trained weights draws noise" in capsys.readouterr().err
    assert not (world / "run").exists()


def test_the_checkpoint_of_another_net(refused: Callable[[str], str]) -> None:
    torch.save(build_generator("cyclegan", width=4, blocks=1).state_dict(), "other.pth")
    text = refused("--weights other.pth")
    assert "other.pth does not fit cartoongan" in text
    assert "missing blocks.0.branch.conv_1.bias" in text


class Payload:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("executed",)


def test_code_in_a_checkpoint_is_not_run(refused: Callable[[str], str], world: Path) -> None:
    torch.save({"state_dict": Payload()}, "evil.pth")
    assert "evil.pth holds code or an object" in refused("--weights evil.pth")
    assert not (world / "executed").exists()


def run(line: str, capsys: Capture) -> tuple[dict[str, object], list[str]]:
    """A run that goes on to its end: the JSON, and the lines on stderr."""
    assert main(arguments(line)) == 0
    out, err = capsys.readouterr()
    return json.loads(out.splitlines()[-1]), err.splitlines()


@pytest.mark.filterwarnings("always::gan_slimming.data.folder.ImageWarning")
def test_bad_images_among_good_ones_are_counted_once(world: Path, capsys: Capture) -> None:
    draw(world / "photos" / "cut.jpg")
    content = (world / "photos" / "cut.jpg").read_bytes()
    (world / "photos" / "cut.jpg").write_bytes(content[: len(content) // 2])
    summary, told = run("", capsys)
    assert len(told) == 1
    assert told[0].startswith("warning: photos: 1 of 4 files skipped, the first: photos/cut.jpg:")
    assert Path(str(summary["generator"])).is_file()

    # A finished run is neither resumed nor replaced by mistake.
    before = files(world)
    for line, text in (
        ("", "run exists and is not empty"),
        ("--resume", "run is finished"),
        ("--overwrite --budget.macs 0.001", "cannot be met"),
        ("--overwrite --data empty", "no images found"),
    ):
        assert main(arguments(line)) == 2
        assert text in capsys.readouterr().err
    assert files(world) == before


def test_images_of_every_kind_are_taken(world: Path, capsys: Capture) -> None:
    for mode, name in (("L", "grey.png"), ("CMYK", "print.jpg"), ("16", "deep.png"),
                       ("LA", "veil.png"), ("P", "palette.png"), ("1", "ink.png")):  # fmt: skip
        draw(world / "empty" / name, mode)
    summary, told = run("--data empty", capsys)
    assert told == []
    assert summary["steps"] == 2


def test_a_report_that_the_disk_refuses_costs_only_the_page(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gan_slimming.workflows.compress.report", full)
        assert main(arguments("")) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["steps"] == 2
    assert (
        "warning: run is finished, but its report cannot be written (No space left on device); "
        "make room, then gan-slimming report run\n" in err
    )
    assert main(["report", "run"]) == 0
