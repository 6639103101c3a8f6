"""evaluate: models, folders and noise side by side, by the same code; mistakes in one line."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.perceptual.test_lpips import squeezenet_state
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.config import InputContract, WeightsFile
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.download import file_sha256
from gan_slimming.data.image_files import read_image, write_image
from gan_slimming.errors import UserError
from gan_slimming.evaluation import passes
from gan_slimming.evaluation.choice import EvaluationWarning
from gan_slimming.metrics.distances import psnr
from gan_slimming.metrics.verdict import scaled_and_back
from gan_slimming.models import CartoonGenerator, build_generator, spec_of
from gan_slimming.perceptual import weights
from gan_slimming.perceptual.weights import SOURCES, Source
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.serialization.provenance import environment, fingerprint
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.workflows.evaluate import evaluate

PLAIN = ["psnr", "l1", "ssim", "colour", "dots"]


@pytest.fixture(autouse=True)
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No weights anywhere but in the folder that is returned; no package but torch."""
    monkeypatch.delenv("GAN_SLIMMING_DATA", raising=False)
    monkeypatch.setenv("GAN_SLIMMING_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("gan_slimming.metrics.catalogue.flip_installed", lambda: False)
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


@pytest.fixture
def squeezenet(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SqueezeNet of random weights, with a classifier of 1000 classes."""
    state = squeezenet_state()
    state["classifier.1.weight"] = torch.randn(1000, 512, 1, 1) * 0.1
    state["classifier.1.bias"] = torch.zeros(1000)
    file = empty_machine / "squeezenet1_1-b8a52dc0.pth"
    torch.save(state, file)
    known = replace(SOURCES["squeezenet"], copies=(file_sha256(file),))
    monkeypatch.setitem(SOURCES, "squeezenet", known)
    (empty_machine / "imagenet_labels.txt").write_text("\n".join(f"c{i}" for i in range(1000)))
    return file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six smooth photos of 40x36 and one of another size."""
    root = tmp_path / "photos"
    for number in range(7):
        generator = torch.Generator().manual_seed(number)
        coarse = torch.rand(1, 3, 5, 6, generator=generator) * 2 - 1
        size = (36, 40) if number < 6 else (33, 50)
        image = nn.functional.interpolate(coarse, size, mode="bicubic").clamp(-1, 1)
        write_image(root / "sub" / f"{number}.png", image[0])
    return root


class Tint(nn.Module):
    """Adds a colour and changes contrast; sizes must be multiples of 4."""

    contract = InputContract(multiple_of=4)

    def __init__(self, red: float = 0.0, contrast: float = 1.0) -> None:
        super().__init__()
        self.red = nn.Parameter(torch.tensor([red, 0.0, 0.0]).view(1, 3, 1, 1))
        self.contrast = contrast

    def forward(self, images: Tensor) -> Tensor:
        return images * self.contrast + self.red


def found(report: dict[str, Any], model: int = 0) -> dict[str, dict[str, Any]]:
    name = report["models"][model]["model"]
    return {row["metric"]: row for row in report["results"] if row["model"] == name}


def write_outputs(photos: Path, folder: Path, change: nn.Module) -> Path:
    for path in photos.rglob("*.png"):
        with torch.no_grad():
            made = change(read_image(path).rgb[None])[0]
        write_image(folder / path.relative_to(photos), made)
    return folder


def test_a_model_and_a_folder_of_its_images_get_the_same_figures(
    photos: Path, tmp_path: Path
) -> None:
    student, teacher = Tint(0.1).eval(), Tint(contrast=0.9).eval()
    folder = write_outputs(photos, tmp_path / "made", student)
    references = write_outputs(photos, tmp_path / "references", teacher)
    by_model = evaluate(student, photos, teacher=teacher, metrics=PLAIN)
    by_folder = evaluate(folder, photos, teacher=references, metrics=PLAIN)
    without_data = evaluate(folder, teacher=references, metrics=PLAIN)
    for name in PLAIN:
        first, second = found(by_model)[name], found(by_folder)[name]
        assert first["value"] == pytest.approx(second["value"], rel=1e-6)
        assert (first["low"], first["high"]) == pytest.approx((second["low"], second["high"]))
        assert found(without_data)[name]["value"] == second["value"]
        assert first["low"] <= first["value"] <= first["high"]
        assert first["images"] == by_model["images"] == 7
    expected = []
    for path in sorted((tmp_path / "made").rglob("*.png")):
        reference = read_image(references / path.relative_to(tmp_path / "made")).rgb[None]
        expected.append(float(psnr(read_image(path).rgb[None], reference)))
    assert found(by_folder)["psnr"]["value"] == pytest.approx(np.mean(expected), rel=1e-6)


def test_several_models_in_one_pass(photos: Path) -> None:
    calls = 0

    class Teacher(Tint):
        def forward(self, images: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return super().forward(images)

    students = [Tint(0.02).eval(), Tint(0.2).eval()]
    seen: list[tuple[int, int]] = []
    report = evaluate(
        students, photos, teacher=Teacher().eval(), metrics=["psnr", "l1"], batch_size=4,
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    rows = [row for row in report["results"] if row["metric"] == "l1"]
    assert rows[0]["value"] < rows[1]["value"]
    assert calls == 3  # batches of 4, 2 and 1 images; none twice for two students
    assert seen == [(4, 7), (6, 7), (7, 7)]
    assert [row["direction"] for row in report["results"]] == ["higher", "lower"] * 2


@pytest.mark.parametrize("batch_size", [1, 3])
def test_figures_do_not_depend_on_batches(photos: Path, batch_size: int) -> None:
    student = build_generator("cartoongan", width=2, blocks=1).eval()
    whole = evaluate(student, photos, teacher=Tint(), metrics=PLAIN)
    parts = evaluate(
        student, photos, teacher=Tint(), metrics=PLAIN, batch_size=batch_size, workers=1
    )
    for first, second in zip(whole["results"], parts["results"], strict=True):
        assert first["value"] == pytest.approx(second["value"], rel=1e-4)


def test_the_teacher_itself_is_at_no_distance(photos: Path) -> None:
    report = evaluate(Tint(0.1), photos, teacher=Tint(0.1), metrics=PLAIN)
    values = {name: row["value"] for name, row in found(report).items()}
    assert values == pytest.approx({"psnr": 100, "l1": 0, "ssim": 1, "colour": 0, "dots": 0})
    assert report["models"][0]["verdict"] == "equal to the teacher on every image"


def test_costs_are_those_of_the_first_image(photos: Path, tmp_path: Path) -> None:
    generator = build_generator("cartoongan", width=2, blocks=1).eval()
    file = tmp_path / "run" / "generator.safetensors"
    save_generator(generator, file, spec_of(generator))
    report = evaluate(
        [file, write_outputs(photos, tmp_path / "made", Tint())], photos, teacher=Tint(),
        metrics=["l1"], layers=True,
    )  # fmt: skip
    model, folder = report["models"]
    assert model["size"] == [36, 40]
    assert model["size_bytes"] == file.stat().st_size
    assert model["macs"] == sum(layer["macs"] for layer in model["layers"])
    assert model["paper_convention_macs"] > model["macs"]
    assert model["parameters"] == sum(p.numel() for p in generator.parameters())
    assert model["peak_activation_bytes"] >= 2 * 4 * 36 * 40 * 2
    assert model["layers"][0]["output_bytes"] == 4 * 2 * 36 * 40
    assert folder["macs"] is None


def make_run(root: Path, photos: Path, teacher_file: Path) -> CartoonGenerator:
    """A finished run folder; returns its teacher."""
    teacher = build_generator("cartoongan", width=4, blocks=1).eval()
    assert isinstance(teacher, CartoonGenerator)
    torch.save(teacher.state_dict(), teacher_file)
    student = build_generator("cartoongan", width=2, blocks=1).eval()
    save_generator(student, root / "generator.safetensors", spec_of(student))
    run = gs.Run(budget=gs.Budget(macs=0.5), holdout=3)
    spec = spec_of(teacher)
    RunFolder(root).write_config({
        "generator": {
            "name": spec.name, "arguments": spec.arguments, "weights": str(teacher_file),
            "sha256": fingerprint(teacher),
        },
        "data": str(photos.resolve()), "run": dataclasses.asdict(run),
        "environment": environment(),
    })  # fmt: skip
    (root / "summary.json").write_text("{}")
    return teacher


def test_flags_of_weights_are_for_names_beside_saved_generators(
    photos: Path, tmp_path: Path
) -> None:
    teacher = build_generator("cartoongan", width=4, blocks=1)
    saved = tmp_path / "student.safetensors"
    save_generator(teacher, saved, spec_of(teacher))
    state = {f"net.{name}": tensor for name, tensor in teacher.state_dict().items()}
    torch.save(state, tmp_path / "weights.pth")
    taken = {
        "weights": WeightsFile(tmp_path / "weights.pth", rename=("net.=",)),
        "arguments": {"width": 4, "blocks": 1},
    }
    report = evaluate(saved, photos, teacher="cartoongan", metrics=["l1"], latency=True, **taken)
    assert found(report)["l1"]["value"] == 0
    assert report["models"][0]["latency_ms"] > 0
    with pytest.raises(UserError, match="leave out weights "):
        evaluate(saved, photos, teacher=teacher, metrics=["l1"], **taken)
    rename = WeightsFile(None, rename=("net.=",))
    with pytest.raises(UserError, match="leave out --weights-key and --rename"):
        evaluate(saved, photos, teacher=teacher, metrics=["l1"], weights=rename)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"count": 2}, "--count 2 is the number of images from noise; for fewer images, put"),
        ({"labels": "here"}, "no use without --segmenter"),
        ({"segmenter": "mine:net"}, "no use without --labels"),
        ({"class_labels": "names.txt"}, "no use without --class"),
        ({"labels": "here", "segmenter": "gone.away:net"}, "--segmenter gone.away:net cannot be"),
    ],
)
def test_flags_without_effect_are_refused(photos: Path, flags: dict[str, Any], words: str) -> None:
    if "labels" in flags:
        flags = {**flags, "labels": photos}
    metrics = ["mean_iou"] if {"labels", "segmenter"} <= set(flags) else ["l1"]
    with pytest.raises(UserError, match=words):
        evaluate(Tint(), photos, teacher=Tint(), metrics=metrics, **flags)


def test_a_latency_that_fails_does_not_cost_the_figures(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UserError("no process can be started")

    monkeypatch.setattr("gan_slimming.workflows.evaluate.latencies", fail)
    with pytest.warns(EvaluationWarning, match="latency is left out: no process can be started"):
        report = evaluate(Tint(), photos, teacher=Tint(), metrics=["l1"], latency=True)
    assert found(report)["l1"]["value"] == 0
    assert report["models"][0]["latency_ms"] is None


def test_a_size_without_effect_is_refused(photos: Path) -> None:
    noise = build_generator("dcgan", width=4)
    with pytest.raises(UserError, match="takes noise, so --size has no use"):
        evaluate(noise, teacher=noise, count=4, size=8, metrics=["l1"])
    with pytest.raises(UserError, match="--size is for inputs of generators"):
        evaluate(photos, teacher=photos, size=8, metrics=["l1"])


def test_the_teacher_of_a_run_folder_is_found(photos: Path, tmp_path: Path) -> None:
    (photos / "sub" / "6.png").unlink()  # its sides are no multiples of four
    teacher = make_run(tmp_path / "run", photos, tmp_path / "teacher.pth")
    held = evaluate(tmp_path / "run", photos, split="held", metrics=["psnr"])
    assert held["images"] == 3
    assert held["models"][0]["teacher"] == f"cartoongan:{tmp_path / 'teacher.pth'}"
    with pytest.warns(EvaluationWarning, match="was trained on images of .*; take --split held"):
        whole = evaluate(tmp_path / "run", photos, metrics=["psnr"])
    file = tmp_path / "run" / "generator.safetensors"
    given = evaluate(file, photos, teacher=teacher, metrics=["psnr"])
    assert whole["images"] == 6
    assert found(whole)["psnr"]["value"] == pytest.approx(found(given)["psnr"]["value"])
    # A folder beside it is compared with the same teacher.
    made = write_outputs(
        photos, tmp_path / "made", GeneratorAdapter(teacher, spec_of(teacher).contract)
    )
    with pytest.warns(EvaluationWarning):
        both = evaluate([tmp_path / "run", made], photos, metrics=["psnr"])
    assert found(both, 1)["psnr"]["value"] > 40


def test_a_run_without_its_teacher(photos: Path, tmp_path: Path, squeezenet: Path) -> None:
    make_run(tmp_path / "run", photos, tmp_path / "teacher.pth")
    other = build_generator("cartoongan", width=4, blocks=1)
    torch.save(other.state_dict(), tmp_path / "teacher.pth")
    with pytest.warns(EvaluationWarning, match="had another teacher than"):
        report = evaluate(tmp_path / "run", photos, split="held", target_class="c7")
    assert list(found(report)) == ["class_rate"]
    (tmp_path / "teacher.pth").unlink()
    with (
        pytest.warns(EvaluationWarning, match="which is gone; give --teacher"),
        pytest.raises(UserError, match="psnr needs a teacher"),
    ):
        evaluate(tmp_path / "run", photos, split="held", metrics=["psnr"])


def test_a_run_without_its_teacher_is_not_compared_with_anothers(
    photos: Path, tmp_path: Path
) -> None:
    make_run(tmp_path / "run", photos, tmp_path / "teacher.pth")
    make_run(tmp_path / "other", photos, tmp_path / "another.pth")
    (tmp_path / "teacher.pth").unlink()
    runs = [tmp_path / "run", tmp_path / "other"]
    with pytest.warns(EvaluationWarning, match="which is gone; give --teacher"):
        report = evaluate(runs, photos, split="held", metrics=["psnr"])
    assert [model["teacher"] is None for model in report["models"]] == [True, False]
    assert not found(report)
    assert list(found(report, 1)) == ["psnr"]


def test_two_teachers_of_one_name_are_not_confused(photos: Path, tmp_path: Path) -> None:
    both = tmp_path / "both.pth"
    runs = [tmp_path / "a", tmp_path / "b"]
    teachers = [make_run(run, photos, tmp_path / "one.pth") for run in runs]
    torch.save({r.name: t.state_dict() for r, t in zip(runs, teachers, strict=True)}, both)
    for run in runs:
        record = RunFolder(run).read_config()[1]
        record["generator"] |= {"weights": str(both), "weights_key": run.name}
        RunFolder(run).write_config(record)
    report = evaluate(runs, photos, split="held", metrics=["psnr"])
    for place, run in enumerate(runs):
        alone = evaluate(run, photos, split="held", metrics=["psnr"])
        assert found(report, place)["psnr"]["value"] == found(alone)["psnr"]["value"]
    names = [model["teacher"] for model in report["models"]]
    assert names == [f"cartoongan:{both}", f"cartoongan:{both} (2)"]


def test_a_run_that_is_being_written(photos: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "run", photos, tmp_path / "teacher.pth")
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(UserError, match="still being written, or was interrupted; wait for it"):
        evaluate(tmp_path / "run", photos)


def test_a_run_without_its_model_is_no_folder_of_images(photos: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "run", photos, tmp_path / "teacher.pth")
    (tmp_path / "run" / "generator.safetensors").unlink()
    for number in range(2):
        write_image(tmp_path / "run" / "samples" / f"{number}.png", torch.zeros(3, 8, 24))
    with pytest.raises(UserError, match=r"run folder that lacks generator\.safetensors; put"):
        evaluate(tmp_path / "run", metrics=["class_rate"], target_class="3")


class Noise(nn.Module):
    """Noise of 4 numbers to images of 16 x 16, of few colours with `modes`."""

    contract = InputContract(latent_size=4)

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        weights = torch.randn(4, 3 * 16 * 16, generator=torch.Generator().manual_seed(1))
        self.weight = nn.Parameter(weights)

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(self.gain * (latents @ self.weight)).view(-1, 3, 16, 16)


def test_noise_against_its_teacher_and_real_images(
    squeezenet: Path, photos: Path, tmp_path: Path
) -> None:
    real = tmp_path / "real"
    with torch.no_grad():
        latents = torch.randn(140, 4, generator=torch.Generator().manual_seed(9))
        for number, image in enumerate(Noise().eval()(latents)):
            write_image(real / f"{number}.png", image)
    names = ["l1", *(f"{n}_squeezenet" for n in ("frechet", "kid", "precision", "recall"))]
    with pytest.warns(EvaluationWarning, match="frechet_squeezenet is too large below 512"):
        report = evaluate(
            [Noise().eval(), Noise(0.2).eval()],
            teacher=Noise().eval(),
            targets=real,
            count=130,
            metrics=names,
        )
    near, far = found(report), found(report, 1)
    assert list(near) == names
    assert near["l1"]["value"] == 0
    assert near["frechet_squeezenet"]["value"] < far["frechet_squeezenet"]["value"]
    assert near["kid_squeezenet"]["value"] < far["kid_squeezenet"]["value"]
    assert near["recall_squeezenet"]["value"] > far["recall_squeezenet"]["value"]
    protocol = near["frechet_squeezenet"]["protocol"]
    assert protocol["features_sha256"] == file_sha256(squeezenet)
    assert protocol["real_images"] == 140
    assert protocol["resize"] == "224x224, bilinear with antialias"
    assert near["kid_squeezenet"]["spread"] >= 0
    assert protocol["data"] == "noise of seed 0"
    assert report["models"][0]["size"] is None


def test_samples_of_a_generator_pair_with_its_noise(tmp_path: Path) -> None:
    generator = Noise().eval()
    gs_sample = __import__("gan_slimming.workflows.sample", fromlist=["sample"]).sample
    gs_sample(generator, tmp_path / "grid.png", count=5, seed=3, separate=tmp_path / "single")
    report = evaluate(Noise().eval(), teacher=tmp_path / "single", count=5, seed=3, metrics=["l1"])
    assert found(report)["l1"]["value"] == 0


def test_folders_against_real_images_use_the_cache(
    squeezenet: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in ("a", "b"):
        for number in range(30):
            pixels = np.random.default_rng(ord(root) * number).integers(0, 255, (16, 16, 3))
            (tmp_path / root).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / root / f"{number}.png")
    names = ["kid_squeezenet", "recall_squeezenet"]
    with pytest.warns(EvaluationWarning, match="kid_squeezenet scatters widely below 100"):
        first = evaluate(tmp_path / "a", targets=tmp_path / "b", metrics=names)
    cached = list((tmp_path / "cache").rglob("*.safetensors"))
    assert len(cached) == 2
    for path in cached:  # a foreign and a damaged entry
        path.write_bytes(b"{}")
    with pytest.warns(EvaluationWarning):
        second = evaluate(tmp_path / "a", targets=tmp_path / "b", metrics=names)
    assert [r["value"] for r in first["results"]] == [r["value"] for r in second["results"]]
    with (
        pytest.warns(EvaluationWarning, match="left out: frechet_squeezenet of 30 images means"),
        pytest.warns(EvaluationWarning, match="recall_squeezenet scatters widely below 1,000"),
    ):
        usual = evaluate(tmp_path / "a", targets=tmp_path / "b")
    assert "frechet_squeezenet" not in found(usual)
    with pytest.raises(
        UserError, match="frechet_squeezenet of 30 images means nothing, at least 1"
    ):
        evaluate(tmp_path / "a", targets=tmp_path / "b", metrics=["frechet_squeezenet"])


def test_share_of_a_class(squeezenet: Path, photos: Path) -> None:
    network = weights.load_weights("squeezenet", squeezenet)
    features = __import__("gan_slimming.perceptual.features", fromlist=["x"])
    classify = features.SqueezeNetFeatures(network)
    from gan_slimming.metrics.tasks import classifier_size

    with torch.inference_mode():
        guesses = [
            int(classify.logits(classifier_size((read_image(p).rgb[None] + 1) / 2)).argmax())
            for p in sorted(photos.rglob("*.png"))
        ]
    wanted = max(set(guesses), key=guesses.count)
    report = evaluate(photos, target_class=f"c{wanted}")
    row = found(report)["class_rate"]
    assert row["value"] == pytest.approx(guesses.count(wanted) / 7)
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert row["protocol"]["class"] == f"c{wanted} ({wanted})"


SEGMENTER = """
import torch
class Bright(torch.nn.Module):
    def forward(self, images):
        grey = images.mean(1, keepdim=True)
        return torch.cat([-grey, grey], 1)
"""


def test_overlap_with_label_maps(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bright_segmenter.py").write_text(SEGMENTER)
    monkeypatch.syspath_prepend(tmp_path)
    for path in photos.rglob("*.png"):
        bright = (read_image(path).rgb.mean(0) > 0).to(torch.uint8)
        target = tmp_path / "labels" / path.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(bright.numpy()).save(target)
    given = {"segmenter": "bright_segmenter:Bright", "labels": tmp_path / "labels"}
    same = evaluate(Tint(), photos, metrics=["mean_iou"], **given)
    assert found(same)["mean_iou"]["value"] == 1
    darker = evaluate(Tint(-0.5), photos, metrics=["mean_iou"], **given)
    assert 0 < found(darker)["mean_iou"]["value"] < 0.9
    with pytest.raises(UserError, match="mean_iou needs --segmenter"):
        evaluate(Tint(), photos, metrics=["mean_iou"])


def test_flicker_of_frames(photos: Path, tmp_path: Path) -> None:
    (photos / "sub" / "6.png").unlink()

    class Blinks(Tint):
        def forward(self, images: Tensor) -> Tensor:
            sign = torch.tensor([(-1.0) ** i for i in range(len(images))]).view(-1, 1, 1, 1)
            return images * 0.5 + 0.02 * sign

    teacher = Tint(contrast=0.5)
    for batch_size in (2, 4):
        report = evaluate(
            Blinks(), photos, teacher=teacher, metrics=["flicker"], batch_size=batch_size
        )
        row = found(report)["flicker"]
        assert row["value"] == pytest.approx(0.04 * 127.5, abs=0.5)
        assert row["images"] == 5  # changes between six frames


def test_unreadable_photos_are_left_out_for_all(photos: Path) -> None:
    (photos / "sub" / "2.png").write_text("no image")
    with pytest.warns(EvaluationWarning, match=r"1 image\(s\) cannot be read and are left out"):
        report = evaluate(Tint(), photos, teacher=Tint(0.1), metrics=["l1"])
    assert report["images"] == found(report)["l1"]["images"] == 6
    assert report["skipped"][0]["image"] == "sub/2"


def test_the_first_photo_may_be_the_one_that_is_unreadable(photos: Path) -> None:
    (photos / "sub" / "0.png").write_text("no image")
    with pytest.warns(EvaluationWarning, match="cannot be read"):
        report = evaluate(Tint(), photos, teacher=Tint(0.1), metrics=["l1"])
    assert report["models"][0]["size"] == [36, 40]


def test_a_folder_has_the_same_images_left_out_as_models(
    squeezenet: Path, photos: Path, tmp_path: Path
) -> None:
    for number in range(7, 24):
        write_image(photos / "sub" / f"{number}.png", torch.rand(3, 36, 40) * 2 - 1)
    made = write_outputs(photos, tmp_path / "made", nn.Identity())
    (photos / "sub" / "3.png").write_text("no image")
    names = ["precision_squeezenet", "kid_squeezenet"]
    with (
        pytest.warns(EvaluationWarning, match="cannot be read"),
        pytest.warns(EvaluationWarning, match="few images"),
    ):
        report = evaluate([Tint(), made], photos, targets=made, metrics=names)
    for name in names:
        model, folder = found(report)[name], found(report, 1)[name]
        assert model["images"] == folder["images"] == 23
        assert model["value"] == pytest.approx(folder["value"], rel=1e-4)


def test_real_images_of_which_few_can_be_read(
    squeezenet: Path, photos: Path, tmp_path: Path
) -> None:
    for number in range(7, 24):
        write_image(photos / "sub" / f"{number}.png", torch.rand(3, 36, 40) * 2 - 1)
    made = write_outputs(photos, tmp_path / "made", nn.Identity())
    for number in range(20):
        (made / "sub" / f"{number}.png").write_text("no image")
    with (
        pytest.warns(EvaluationWarning, match=r"20 image\(s\) cannot be read"),
        pytest.warns(EvaluationWarning, match="few images"),
        pytest.raises(UserError, match="kid_squeezenet of 4 images means nothing"),
    ):
        evaluate(photos, targets=made, metrics=["kid_squeezenet"])


@pytest.mark.parametrize("seed", [2**40, 2**62])
def test_large_numbers_are_seeds(squeezenet: Path, photos: Path, seed: int) -> None:
    for number in range(7, 24):
        write_image(photos / "sub" / f"{number}.png", torch.rand(3, 36, 40) * 2 - 1)
    with pytest.warns(EvaluationWarning, match="few images"):
        report = evaluate(
            Tint(), photos, targets=photos, teacher=Tint(0.1), seed=seed,
            metrics=["l1", "kid_squeezenet", "precision_squeezenet"],
        )  # fmt: skip
    assert all(row["low"] <= row["value"] <= row["high"] for row in report["results"])


def test_flicker_needs_frames_of_one_size(photos: Path) -> None:
    with pytest.raises(UserError, match="flicker and cvvdp need frames of one size"):
        evaluate(Tint(), photos, teacher=Tint(0.1), metrics=["flicker"])


def test_a_folder_that_changes_meanwhile(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = passes.generate

    def touches(subject: Any, inputs: Any) -> Tensor:
        state = (photos / "sub" / "0.png").stat()
        times = (state.st_atime_ns, state.st_mtime_ns + 5_000_000)
        os.utime(photos / "sub" / "0.png", ns=times)
        return generate(subject, inputs)

    monkeypatch.setattr(passes, "generate", touches)
    with pytest.raises(UserError, match=r"changed while it was read .*nothing was judged"):
        evaluate(Tint(), photos, teacher=Tint(0.1), metrics=["l1"])


def test_an_image_that_goes_meanwhile(photos: Path, tmp_path: Path) -> None:
    made = write_outputs(photos, tmp_path / "made", Tint())

    class Removes(Tint):
        def forward(self, images: Tensor) -> Tensor:
            (made / "sub" / "6.png").unlink(missing_ok=True)
            return super().forward(images)

    with pytest.raises(UserError, match="changed while it was read"):
        evaluate([Removes(), made], photos, teacher=Tint(), metrics=["l1"])


def test_the_verdict_names_the_damage(photos: Path, tmp_path: Path) -> None:
    for path in photos.rglob("*.png"):
        image = scaled_and_back(read_image(path).rgb, 25)
        write_image(tmp_path / "made" / path.relative_to(photos), image)
    report = evaluate(tmp_path / "made", teacher=photos, metrics=["psnr"])
    expected = "as near to the teacher as the teacher's own images scaled down to (25|30|20) % and "
    assert re.match(expected, report["models"][0]["verdict"])


def test_files_of_results(photos: Path, tmp_path: Path) -> None:
    with pytest.warns(EvaluationWarning, match=r"not on this machine: lpips \(the weights of squ"):
        report = evaluate(Tint(), photos, teacher=Tint(0.1), output=tmp_path / "t.json")
    assert list(found(report)) == ["psnr", "ssim", "l1", "colour", "dots"]
    assert json.loads((tmp_path / "t.json").read_text())["results"] == json.loads(
        json.dumps(report["results"])
    )
    with pytest.raises(UserError, match="exists already"):
        evaluate(Tint(), photos, teacher=Tint(0.1), output=tmp_path / "t.json")


def test_values_that_are_no_numbers(photos: Path) -> None:
    with pytest.raises(UserError, match=r"makes values that are not numbers \(NaN\)"):
        evaluate(Tint(math.nan), photos, teacher=Tint(), metrics=["l1"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "there is nothing to compare with: give --teacher"),
        ({"metrics": ["psnr"]}, "psnr needs a teacher to compare with"),
        ({"metrics": ["fid"]}, "fid needs real images to compare with; give --targets"),
        ({"metrics": ["class_rate"]}, "class_rate needs the class"),
        ({"metrics": ["x"]}, "metrics are lpips"),
        ({"split": "train"}, "split must be all or held, got 'train'"),
        ({"split": "held"}, "--split held needs a run folder"),
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"teacher": "absent/folder"}, "no such file or folder: absent/folder"),
        ({"targets": "absent"}, "absent does not exist; give a folder of images"),
        ({"metrics": ["flip"]}, r"flip needs a package; pip install"),
    ],
)
def test_mistakes(photos: Path, arguments: dict[str, Any], text: str) -> None:
    if arguments.get("metrics") == ["flip"] or "split" in arguments:
        arguments = {"teacher": Tint(), "metrics": ["l1"], **arguments}
    with pytest.raises(UserError, match=text):
        evaluate(Tint(), photos, **arguments)


def test_mistakes_with_folders(photos: Path, tmp_path: Path) -> None:
    made = write_outputs(photos, tmp_path / "made", Tint())
    (made / "sub" / "3.png").unlink()
    with pytest.raises(UserError, match=r"lacks partners for 1 of 7 images of .* \(sub/3\)"):
        evaluate(made, photos, teacher=Tint(), metrics=["l1"])
    Image.new("RGB", (9, 9)).save(made / "sub" / "3.png")
    with pytest.raises(UserError, match=r"^image sub/3: images of .* differ in size \(9x9 and"):
        evaluate(made, photos, teacher=Tint(), metrics=["l1"])
    (made / "sub" / "3.png").write_text("no image")
    with pytest.warns(
        EvaluationWarning, match=r"left out; the first: sub/3: .*made/sub/3\.png: it"
    ):
        assert evaluate(made, photos, teacher=Tint(), metrics=["l1"])["images"] == 6
    for path in list(photos.rglob("*.png"))[1:]:
        path.unlink()
    with pytest.raises(UserError, match=r"holds 1 image\(s\), at least 2 are needed"):
        evaluate(Tint(), photos, teacher=Tint(), metrics=["l1"])


def test_folders_of_other_names(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for name in ("x", "y"):
        write_image(other / f"{name}.png", torch.zeros(3, 8, 8))
    with pytest.raises(UserError, match=r"other lacks partners for .*; it holds x, y; images"):
        evaluate([photos, other], metrics=["class_rate"], target_class="3")


def test_an_image_that_a_metric_cannot_take_is_named(photos: Path) -> None:
    write_image(photos / "speck.png", torch.zeros(3, 4, 4))
    with pytest.raises(UserError, match=r"^image speck: SSIM needs images of at least 11x11"):
        evaluate(Tint(), photos, teacher=Tint(), metrics=["ssim"])


def test_frames_of_a_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(tmp_path / "clip.mp4"), "w") as made:
        stream = made.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for level in (60, 120, 180, 240):
            pixels = np.full((32, 32, 3), level, dtype=np.uint8)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        made.mux(stream.encode(None))
    report = evaluate(
        Tint(contrast=0.5), tmp_path / "clip.mp4", teacher=Tint(), metrics=["flicker", "l1"]
    )
    assert report["images"] == 4
    assert found(report)["flicker"]["value"] == pytest.approx(30, abs=1.5)
    assert report["models"][0]["size"] == [32, 32]
    with pytest.raises(UserError, match="no such video"):
        evaluate(Tint(), tmp_path / "absent.mp4", teacher=Tint(), metrics=["l1"])


def test_mistakes_with_noise(photos: Path) -> None:
    with pytest.raises(UserError, match="takes noise, so --data has no use"):
        evaluate(Noise(), photos, teacher=Noise(), metrics=["l1"])
    with pytest.raises(UserError, match="count must be at least 2, got 1"):
        evaluate(Noise(), teacher=Noise(), metrics=["l1"], count=1)
    with pytest.raises(UserError, match="must take the same noise"):
        evaluate([Noise(), Tint()], teacher=Noise(), metrics=["l1"])
    with pytest.raises(UserError, match=r"name the images that .* takes: --data FOLDER"):
        evaluate(Tint(), teacher=Tint(), metrics=["l1"])


def test_weights_of_another_hash(
    photos: Path, empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = empty_machine / "other.pth"
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, file)
    for number in range(3):
        Image.new("RGB", (9, 9)).save(photos / f"{number}.png")
    monkeypatch.setattr("gan_slimming.metrics.embedded_set.SHARE", 2048)
    with (
        pytest.warns(EvaluationWarning),
        pytest.raises(UserError, match="this is not the Inception network of FID"),
    ):
        evaluate(photos, targets=photos, metrics=["fid"], inception=file)
    source = Source("http://127.0.0.1:9/none", "0" * 64, ("inception.pth",))
    monkeypatch.setitem(weights.SOURCES, "inception", source)
    with pytest.warns(EvaluationWarning), pytest.raises(UserError, match="cannot download"):
        evaluate(photos, targets=photos, metrics=["fid"])
    assert not list((empty_machine.parent / "cache").rglob("*.safetensors"))


def test_what_compress_returns_is_refused_with_the_way_out(photos: Path) -> None:
    done = gs.Compressed(nn.Identity(), {})
    with pytest.raises(UserError, match=r"got Compressed: .* its run folder, or its \.generator"):
        evaluate(done, photos)  # pyright: ignore[reportArgumentType]
