"""Every command on generators of the user's own: noise, classes, BGR, [0, 255], twice as large."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_slimming.cli import main
from gan_slimming.config import Named, Run
from gan_slimming.data.latents import SAMPLE, LatentSet
from gan_slimming.errors import Interrupted
from gan_slimming.models import build_generator
from gan_slimming.perceptual import lpips
from gan_slimming.serialization.resolve import RandomWeightsWarning
from gan_slimming.workflows.compress_by_name import compress_by_name

Capture = pytest.CaptureFixture[str]
TESTS = Path(__file__).parents[1]
QUICK = [
    "--budget.macs", "0.5", "--steps", "2", "--batch-size", "2", "--holdout", "2", "--latents", "4",
    "--size", "32", "--device", "cpu", "--precision", "32-true", "--threads", "1", "--distill",
    "l1", "--optimisation.slim_share", "0.5", "--optimisation.discriminator_width", "2",
]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: photos, trained weights; own_nets can be imported."""
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(4):
        coarse = random.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((35, 31)).save(tmp_path / "photos" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(TESTS)
    monkeypatch.setattr(lpips, "find_weights", lambda name: None)
    for name, arguments in (("noise", {"width": 4, "classes": 3}), ("double", {})):
        net = build_generator(f"own_nets:{name}", **arguments)
        torch.save(net.state_dict(), tmp_path / f"{name}.pth")
    return tmp_path


NOISE = ["--generator-args", '{"width": 4, "classes": 3}']


def ok(capsys: Capture, *words: str) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeightsWarning)
        assert main(list(words)) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys: Capture, *words: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeightsWarning)
        assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.usefixtures("world")
def test_a_noise_generator_goes_through_every_command(capsys: Capture) -> None:
    summary = ok(
        capsys, "compress", "--generator", "own_nets:noise:noise.pth", *NOISE, "--output", "run",
        "--discriminator", "own_nets:discriminator", *QUICK,
    )  # fmt: skip
    assert summary["size"] == 16
    assert summary["macs"] <= 0.5 * summary["teacher_macs"]
    own = ["--generator", "own_nets:noise"]
    report = ok(capsys, "inspect", "run", *own)
    assert (report["size"], report["macs"]) == (16, summary["macs"])
    drawn = ok(capsys, "sample", "run", *own, "--output", "grid.png", "--count", "5")
    assert (drawn["count"], drawn["size"], drawn["output"]) == (5, 16, "grid.png")
    with Image.open("grid.png") as grid:
        assert grid.size == (3 * 16 + 2 * 2, 2 * 16 + 2)
    assert "takes noise, not images; take gan-slimming sample" in refused(
        capsys, "translate", "run", "photos", "--output", "out", *own
    )
    assert f"--generator {own[1]}" in refused(capsys, "sample", "run", "--output", "g.png")
    named = ["own_nets:noise", "--weights", "noise.pth", *NOISE]
    assert ok(capsys, "inspect", *named)["macs"] == summary["teacher_macs"]


@pytest.mark.usefixtures("world")
def test_an_interrupted_run_goes_on_with_one_flag_more(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_slimming.training import train

    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "finish", lambda self: 1 / 0)  # dies after the last step
        line = ["compress", "--generator", "own_nets:double", "--weights", "double.pth"]
        assert main([*line, "--data", "photos", "--output", "run", *QUICK]) == 1
    capsys.readouterr()
    resume = ["compress", "--resume", "--output", "run"]
    assert "a file alone imports nothing; add --generator own_nets:double" in refused(
        capsys, *resume
    )
    assert "was started with another teacher" in refused(
        capsys, *resume, "--generator", "own_nets:double", "--weights", other_weights()
    )
    assert ok(capsys, *resume, "--generator", "own_nets:double")["steps"] == 2


def other_weights() -> str:
    net = build_generator("own_nets:double")
    torch.nn.init.ones_(next(net.parameters()))
    torch.save(net.state_dict(), "other.pth")
    return "other.pth"


@pytest.mark.usefixtures("world")
def test_the_discriminator_of_ones_own_is_asked_for_on_resuming(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_slimming.training import train

    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "finish", lambda self: 1 / 0)
        line = [
            "compress",
            "--generator",
            "own_nets:noise",
            "--discriminator",
            "own_nets:discriminator",
        ]
        assert main([*line, "--output", "run", *QUICK]) == 1
    capsys.readouterr()
    resume = ["compress", "--resume", "--output", "run", "--generator", "own_nets:noise"]
    assert "add --discriminator own_nets:discriminator" in refused(capsys, *resume)
    assert ok(capsys, *resume, "--discriminator", "own_nets:discriminator")["steps"] == 2


@pytest.mark.usefixtures("world")
def test_super_resolution_goes_through_every_command(capsys: Capture) -> None:
    line = ["--generator", "own_nets:double", "--weights", "double.pth", "--data", "photos"]
    summary = ok(capsys, "compress", *line, "--output", "run", *QUICK)
    own = ["--generator", "own_nets:double"]
    report = ok(capsys, "inspect", "run", *own, "--size", "32")
    assert report["macs"] == summary["macs"]
    ok(capsys, "translate", "run", "photos/0.png", "--output", "out", *own, "--match-colours")
    with Image.open("out/0.png") as image:
        assert image.size == (70, 62)
    assert "takes images, not noise; take gan-slimming translate" in refused(
        capsys, "sample", "run", *own, "--output", "g.png"
    )
    written = ok(capsys, "export", "run", *own, "--output", "small.xml", "--size", "16")
    assert Path(written["output"]).is_file()


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_go_through_every_command(capsys: Capture, channels: int) -> None:
    torch.save(build_generator("own_nets:grey", channels=channels).state_dict(), "grey.pth")
    own = ["--generator", "own_nets:grey"]
    line = [*own, "--generator-args", json.dumps({"channels": channels}), "--weights", "grey.pth"]
    ok(capsys, "compress", *line, "--data", "photos", "--output", "run", *QUICK)
    small = ["--output", "small.onnx", "--quantization", "integer", "--size", "16"]
    exported = ok(capsys, "export", "run", *own, *small)
    assert exported["float_layers"] == []
    drawn = []
    for model in (["run", *own], ["small.onnx"]):
        folder = f"out{len(drawn)}"
        ok(capsys, "translate", model[0], "photos/0.png", "--output", folder, *model[1:])
        with Image.open(f"{folder}/0.png") as image:
            assert image.size == (35, 31)
            drawn.append(np.asarray(image.convert("RGB"), dtype=int))
    assert abs(drawn[0] - drawn[1]).max() <= 2
    assert (channels == 1) == bool((drawn[0].min(axis=2) == drawn[0].max(axis=2)).all())


@pytest.mark.usefixtures("world")
def test_a_transparent_image_grows_with_its_transparency(capsys: Capture) -> None:
    Image.new("RGBA", (5, 3), (200, 10, 10, 77)).save("veil.png")
    named = ["own_nets:double:double.pth", "veil.png", "--output", "out"]
    ok(capsys, "translate", *named, "--match-colours")
    with Image.open("out/veil.png") as image:
        assert image.size == (10, 6)
        assert set(image.getchannel("A").tobytes()) == {77}


@pytest.mark.usefixtures("world")
def test_samples_are_what_the_generator_draws(capsys: Capture) -> None:
    named = ["own_nets:noise:noise.pth", *NOISE]
    line = ["sample", *named, "--output", "a.png", "--count", "3", "--seed", "7", "--truncation"]
    ok(capsys, *line, "0.5", "--classes", "2,0", "--separate", "each")
    net = build_generator("own_nets:noise", width=4, classes=3)
    net.load_state_dict(torch.load("noise.pth", weights_only=True))
    latents = LatentSet(3, 6, 3, seed=7, stream=SAMPLE, truncation=0.5).batch(torch.arange(3))[0]
    with torch.no_grad():
        made = net.eval()(latents, torch.tensor([2, 0, 2])).flip(1)  # BGR
    for i in range(3):
        with Image.open(f"each/{i:05d}.png") as image:
            shown = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
        torch.testing.assert_close(shown, made[i], rtol=0, atol=0.003)
    assert float((made[0] - made[1]).abs().mean()) > 0.01
    for words, text in (
        (["1.0"], "a.png exists already; replace with --overwrite"),
        (["1.0", "--overwrite", "--classes", "3"], "classes must be 0 to 2, got 3"),
        (["-1", "--overwrite"], "truncation must be 0 or more"),
        (["1.0", "--overwrite", "--count", "0"], "count must be at least 1, got 0"),
    ):
        assert text in refused(capsys, *line, *words)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("ending", ["onnx", "xml"])
def test_an_exported_file_draws_the_same_samples(capsys: Capture, ending: str) -> None:
    named, file = ["own_nets:noise:noise.pth", *NOISE], f"noise.{ending}"
    asked = ["--count", "3", "--classes", "2,0", "--output"]
    ok(capsys, "export", *named, "--output", file)
    ok(capsys, "sample", *named, *asked, "torch.png")
    told = ok(capsys, "sample", file, *asked, "exported.png")
    assert told["model"].startswith(file)
    assert told["count"] == 3
    drawn = [np.array(Image.open(f"{name}.png")).astype(int) for name in ("torch", "exported")]
    assert abs(drawn[0] - drawn[1]).max() <= 1
    assert drawn[0].std() > 5
    if ending == "onnx":
        ok(capsys, "sample", *named, *asked, "again.png", "--runtime", "onnxruntime")
        assert abs(np.array(Image.open("again.png")).astype(int) - drawn[0]).max() <= 1
    taken = ["translate", file, "torch.png", "--output", "out"]
    assert "takes noise, not images" in refused(capsys, *taken)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["inspect", "own_nets:nothing"], "own_nets:nothing failed with AttributeError"),
        (["inspect", "own_nets:noise", "--generator-args", '{"x": 1}'], "unexpected keyword"),
        (["sample", "own_nets:double", "--output", "g.png"], "takes images, not noise"),
        (["compress", "--output", "r", "--generator", "own_nets:double", *QUICK], "--data FOLDER"),
        (
            ["compress", "--output", "r", "--generator", "own_nets:noise", "--discriminator", "x",
             *QUICK],
            "no discriminator is called 'x'; take patchgan, sngan",
        ),
        (
            ["compress", "--output", "r", "--generator", "own_nets:noise", "--distill", "encoder",
             *[word for word in QUICK if word not in ("--distill", "l1")]],
            "has no encoder",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(capsys: Capture, words: list[str], text: str) -> None:
    assert text in refused(capsys, *words)


@pytest.mark.usefixtures("world")
def test_a_stopped_run_of_own_code_says_how_it_is_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: Any, resume_command: str, **__: Any) -> None:
        raise Interrupted(f"go on with {resume_command}")

    monkeypatch.setattr("gan_slimming.workflows.compress_by_name.compress", stop)
    named = Named("own_nets:double:double.pth", data=Path("photos"))
    with pytest.raises(Interrupted, match=r"--output run --generator own_nets:double$"):
        compress_by_name(named, Path("run"), Run())
