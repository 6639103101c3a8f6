"""A generator of waveforms through every command: made small, judged, exported; or refused."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests import own_data

from gan_slimming.cli import main

Capture = pytest.CaptureFixture[str]
TESTS = Path(__file__).parents[1]
OWN = ["--generator", "own_data:vocoder"]
QUICK = [
    "--budget.macs", "0.6", "--steps", "4", "--batch-size", "2", "--size", "32", "--device", "cpu",
    "--precision", "32-true", "--threads", "1", "--optimisation.slim_share", "0.5",
]  # fmt: skip
BAD = "has the shape (4, 32), the generator takes (5, length)"
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::gan_slimming.{name}")
    for name in (
        "serialization.resolve.RandomWeightsWarning",
        "export.export_model.ExportWarning",
        "evaluation.choice.EvaluationWarning",
        "workflows.translate.TranslationWarning",
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


def test_a_vocoder_that_takes_noise_goes_through_every_command(capsys: Capture) -> None:
    pytest.importorskip("onnxruntime")
    net = ["--generator", "own_data:noisy"]
    line = ["compress", *net, "--data", "mels", "--output", "run", *QUICK]
    assert ok(capsys, *line, "--export", "onnx")["exports"][0]["sizes"] == "any size"
    judged = ["evaluate", "run", "run/generator.onnx", "--data", "mels", *net, "--teacher", "run"]
    in_torch, in_file = values(ok(capsys, *judged, "--metrics", "l1"), "l1")
    assert in_torch == 0
    assert in_file < 0.02
    ok(capsys, "translate", "run/generator.onnx", "mels/1.npy", "--output", "one.wav")
    assert heard("one.wav")[0] == 8000
    assert len(heard("one.wav")[2]) == 4 * 64


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


def heard(path: str) -> tuple[int, int, np.ndarray]:
    """Return rate, channels and samples in [-1, 1] of a .wav file of 16 bits."""
    with wave.open(path) as file:
        assert file.getsampwidth() == 2
        codes = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), file.getnchannels(), codes / 32767


def test_spectrograms_become_wav_files(capsys: Capture) -> None:
    Path("mels/deep").mkdir()
    Path("mels/5.npy").rename("mels/deep/5.npy")
    np.save("mels/deep/bad.npy", np.zeros((4, 32), np.float32))
    words = ["translate", "own_data:vocoder", "mels", "--output", "mels/out"]
    report = ok(capsys, *words)
    assert report["translated"] == 6
    assert report["failed"] == [
        {"path": "mels/deep/bad.npy", "reason": BAD},
    ]
    rate, channels, codes = heard("mels/out/deep/5.wav")
    exact = np.load("mels/out/deep/5.npy")
    net = own_data.vocoder()
    with torch.no_grad():
        expected = net(torch.from_numpy(np.load("mels/deep/5.npy"))[None])[0].numpy()
    assert (rate, channels) == (22050, 1)
    np.testing.assert_allclose(exact, expected, atol=1e-5)
    np.testing.assert_allclose(codes, exact[0].clip(-1, 1), atol=0.6 / 32767)
    assert "mels/out/0.wav and 11 more exist already" in refused(capsys, *words)
    again = ok(capsys, *words, "--overwrite", "--sample-rate", "24000")
    assert (again["translated"], heard("mels/out/0.wav")[0]) == (6, 24000)  # no earlier results


def test_one_signal_and_a_dataset_become_wav_files(capsys: Capture) -> None:
    words = ["translate", "own_data:vocoder"]
    assert ok(capsys, *words, "mels/1.npy", "--output", "voice.wav")["translated"] == 1
    assert len(np.load("voice.npy")[0]) == len(heard("voice.wav")[2])
    data = ["--dataset", "own_data:mels", "--output", "items"]
    assert ok(capsys, *words, *data)["translated"] == len(list(Path("items").glob("*.wav"))) == 8
    assert "items/00000.wav exists already" in refused(capsys, *words, *data)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.png", "--output", "out"], "a.png is an image; the generator makes waveforms"),
        (["photos", "--output", "out"], "no signals in photos; the generator takes .npy"),
        (["mels", "--output", "mels"], "is an input and would be overwritten"),
        (["mels", "--output", "one.wav"], "one.wav is one .wav file; name a folder"),
        (["absent.npy", "--output", "out"], "absent.npy does not exist"),
        (["mels", "--output", "out", "--tile", "64"], "--tile are for image files; leave them"),
        (["mels", "--output", "out", "--sample-rate", "0"], "sample_rate must be at least 1"),
    ],
)
def test_what_cannot_become_a_waveform(capsys: Capture, words: list[str], said: str) -> None:
    Path("photos").mkdir()
    for path in ("a.png", "photos/b.png"):
        Image.new("RGB", (8, 8)).save(path)
    assert said in refused(capsys, "translate", "own_data:vocoder", *words)
    assert not Path("out").exists()


def test_images_have_no_sample_rate(capsys: Capture) -> None:
    words = ["translate", "cartoongan", "mels", "--output", "out"]
    assert "makes images; leave out --sample-rate" in refused(
        capsys, *words, "--sample-rate", "8000"
    )
    assert "no images found in mels" in refused(capsys, *words)


def test_other_commands_say_what_to_do(capsys: Capture) -> None:
    net = "own_data:vocoder"
    said = refused(capsys, "sample", net, "--output", "grid.png")
    assert "takes signals, not noise; take gan-slimming translate" in said
    line = ["evaluate", net, "--teacher", net, "--data", "mels", "--metrics"]
    assert "lpips measures images; of waveforms take psnr, l1, spectral" in refused(
        capsys, *line, "lpips"
    )
    photos = ["evaluate", "cartoongan", "--teacher", "cartoongan", "--data", "mels", "--metrics"]
    assert "spectral measures waveforms" in refused(capsys, *photos, "spectral")
