"""A generator of waveforms through every command: made small, judged, exported; or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_slimming.cli import main

Capture = pytest.CaptureFixture[str]
TESTS = Path(__file__).parents[1]
OWN = ["--generator", "own_data:vocoder"]
QUICK = [
    "--budget.macs", "0.6", "--steps", "4", "--batch-size", "2", "--size", "32", "--device", "cpu",
    "--precision", "32-true", "--threads", "1", "--optimisation.slim_share", "0.5",
]  # fmt: skip
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::gan_slimming.{name}")
    for name in (
        "serialization.resolve.RandomWeightsWarning",
        "export.export_model.ExportWarning",
        "evaluation.choice.EvaluationWarning",
    )
]


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with spectrograms of 32 to 96 frames; own_data can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(TESTS)
    random = np.random.default_rng(0)
    Path("mels").mkdir()
    for number in range(6):
        steps = random.standard_normal((5, 32 * (1 + number % 3))).astype(np.float32)
        np.save(f"mels/{number}.npy", steps.cumsum(1) / 3)


def ok(capsys: Capture, *words: str) -> dict[str, Any]:
    assert main(list(words)) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys: Capture, *words: str) -> str:
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def values(report: dict[str, Any], metric: str) -> list[float]:
    return [row["value"] for row in report["results"] if row["metric"] == metric]


def test_a_vocoder_goes_through_every_command(capsys: Capture) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    line = ["compress", *OWN, "--data", "mels", "--output", "run", *QUICK]
    summary = ok(capsys, *line, "--export", "onnx,openvino")
    assert summary["macs"] <= 0.6 * summary["teacher_macs"]
    assert summary["protocol"]["distance_trained_on"] == "spectral"
    assert {"spectral", "l1", "psnr"} < summary.keys()
    assert "of their sampling rate" in summary["verdict"]
    for made in summary["exports"]:
        assert made["sizes"] == "any size"
        assert made["float_layers"] == []
    with Image.open("run/samples/00_teacher_student.png") as image:
        assert image.size[0] > 2
    found = ok(capsys, "report", "run", "--overwrite")
    assert found["finished"] is True

    models = ["run", "run/generator.onnx", "run/generator.xml"]
    judged = ["evaluate", *models, "--data", "mels", *OWN, "--teacher", "own_data:vocoder"]
    report = ok(capsys, *judged)
    assert {row["metric"] for row in report["results"]} == {"psnr", "l1", "spectral"}
    assert report["results"][0]["images"] == 6
    assert report["results"][0]["protocol"]["outputs"] == "clipped"
    in_torch, *in_files = values(report, "spectral")
    assert in_torch > 0
    assert in_files == pytest.approx([in_torch] * 2, rel=0.02)
    windows = ok(capsys, *judged, "--size", "32", "--metrics", "l1")
    assert windows["results"][0]["images"] == 12
    assert windows["models"][0]["size"] == [1, 32]
    assert windows["models"][0]["macs"] == summary["macs"]
    assert windows["models"][1]["macs"] == pytest.approx(summary["macs"], rel=0.1)


def test_a_dataset_of_spectrograms(capsys: Capture) -> None:
    data = ["--dataset", "own_data:mels"]
    assert "has the shape (5, 40), the generator takes (5, 32)" in refused(
        capsys, "compress", *OWN, *data, "--output", "run", *QUICK
    )
    more = [*QUICK, "--size", "40"]
    assert ok(capsys, "compress", *OWN, *data, "--output", "run", *more)["size"] == 40
    judged = ["evaluate", "run", *data, *OWN, "--teacher", "own_data:vocoder", "--metrics", "l1"]
    assert ok(capsys, *judged)["results"][0]["images"] == 8


def test_inspect_counts_frames(capsys: Capture) -> None:
    found = ok(capsys, "inspect", "own_data:vocoder", "--size", "32")
    assert found["signal"] is True
    first = found["layers"][0]
    assert (first["macs"], first["output"]) == (5 * 8 * 7 * 32, [8, 32])
    assert not [g["name"] for g in found["groups"] if g["name"] == "ups.0" and g["protected"]]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--targets", "mels"], "the GAN game is for images; leave out --targets"),
        (["--adversarial", "lsgan"], "the GAN game is for images; leave out --adversarial"),
        (["--distill", "lpips"], "--distill lpips is for images; take spectral"),
        (["--data", "absent"], "absent does not exist; give a folder of signals"),
        (["--size", "128"], "mels holds no signal of at least 128 frames"),
    ],
)
def test_what_is_for_images_is_refused(capsys: Capture, flags: list[str], said: str) -> None:
    line = ["compress", *OWN, "--data", "mels", "--output", "run", *QUICK]
    assert said in refused(capsys, *line, *flags)
    assert not Path("run").exists()


def test_a_target_of_images_is_refused(capsys: Capture) -> None:
    line = ["compress", *OWN, "--data", "mels", "--output", "run", *QUICK[2:]]
    said = refused(capsys, *line, "--target.lpips", "0.1")
    assert "target.lpips is for images; take --target.psnr or a budget" in said


def test_other_commands_say_what_to_do(capsys: Capture) -> None:
    Image.new("RGB", (8, 8)).save("a.png")
    net = "own_data:vocoder"
    assert "makes waveforms" in refused(capsys, "translate", net, "a.png", "--output", "out")
    data = ["--dataset", "own_data:mels"]
    assert "makes waveforms" in refused(capsys, "translate", net, *data, "--output", "out")
    assert "takes signals, not noise" in refused(capsys, "sample", net, "--output", "grid.png")
    line = ["evaluate", net, "--teacher", net, "--data", "mels", "--metrics"]
    assert "lpips measures images; of waveforms take psnr, l1, spectral" in refused(
        capsys, *line, "lpips"
    )
    photos = ["evaluate", "cartoongan", "--teacher", "cartoongan", "--data", "mels", "--metrics"]
    assert "spectral measures waveforms" in refused(capsys, *photos, "spectral")
