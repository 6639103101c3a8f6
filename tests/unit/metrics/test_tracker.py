"""Distances to the teacher on held-out inputs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_slimming.config import InputContract
from gan_slimming.data.dataset import DatasetItems
from gan_slimming.data.folder import ImageSet
from gan_slimming.data.image_files import read_image
from gan_slimming.data.latents import LatentSet
from gan_slimming.metrics import tracker
from gan_slimming.metrics.tracker import Tracker, means

CPU = torch.device("cpu")
CONTRACT = InputContract(colour_order="BGR", low=0, high=255)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, no feature weights are at hand."""
    monkeypatch.setattr(tracker, "lpips_at_hand", lambda: None)


@pytest.fixture
def held() -> ImageSet:
    pixels = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(3))
    return ImageSet(pixels.to(torch.uint8), torch.arange(3), (Path("a"), Path("b"), Path("c")))


def test_samples_show_an_input_as_large_as_what_is_made_of_it(
    held: ImageSet, tmp_path: Path
) -> None:
    def double(images: Tensor) -> Tensor:
        return images.repeat_interleave(2, -1).repeat_interleave(2, -2)

    Tracker(held, double, CPU).write_samples(lambda x: double(x) * 0, tmp_path / "s", 2)
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert names == ["00_input_teacher_student.png", "01_input_teacher_student.png"]
    row = read_image(tmp_path / "s" / names[0]).rgb
    assert row.shape == (3, 32, 96)
    assert torch.equal(row[:, :, :32], row[:, :, 32:64])
    assert float(row[:, :, 64:].abs().max()) < 0.01
    noise = LatentSet(2, 4)
    Tracker(noise, lambda z: z.new_zeros(1, 3, 8, 8), CPU).write_samples(
        lambda z: z.new_ones(1, 3, 8, 8), tmp_path / "n", 6
    )
    row = read_image(tmp_path / "n" / "01_teacher_student.png").rgb
    assert row.shape == (3, 8, 16)
    assert torch.equal(row[:, :, 8:], torch.ones(3, 8, 8))


def test_the_teacher_is_at_no_distance_from_itself(held: ImageSet) -> None:
    found = Tracker(held, lambda x: x * 0.5, CPU)(lambda x: x * 0.5)
    assert found == {"psnr": 100.0, "l1": 0.0}


def test_what_lies_outside_of_an_image_is_clipped_before_it_is_measured(held: ImageSet) -> None:
    def bright(image: Tensor) -> Tensor:
        return image * 0 + 3

    assert Tracker(held, bright, CPU)(lambda image: image * 0 + 1)["l1"] == 0.0
    assert Tracker(held, bright, CPU)(lambda image: image * 0 - 2)["l1"] == 2.0


def test_measures_are_means_over_the_held_out_images(held: ImageSet) -> None:
    measure = Tracker(held, lambda x: x * 0.5, CPU)
    whole = held.images(torch.arange(3), torch.zeros(3, dtype=torch.int64))
    found = measure(lambda x: x * 0.5 + 0.1)
    assert found["l1"] == pytest.approx(0.1, abs=1e-6)
    assert found["psnr"] == pytest.approx(20 * math.log10(2 / 0.1), abs=1e-4)
    first = measure(lambda x: x, most=1)["l1"]
    assert first == pytest.approx(float((whole[0] * 0.5).abs().mean()), abs=1e-6)


def test_the_metrics_of_the_end_add_to_what_is_tracked(
    held: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "flip_installed", lambda: False)
    measure = Tracker(held, lambda x: x * 0.5, CPU)
    rows = measure.each(lambda x: x * 0.5 + 0.1)
    found = tracker.means(rows)
    assert list(found) == ["psnr", "l1", "ssim", "colour", "dots"]
    tracked = measure(lambda x: x * 0.5 + 0.1)
    assert {name: found[name] for name in tracked} == tracked
    sentence = measure.verdict(rows)
    assert "as near to the teacher as the teacher's own images scaled down" in sentence
    small = Tracker(LatentSet(2, 4), lambda z: z.new_zeros(1, 3, 8, 8), CPU)
    rows = small.each(lambda z: z.new_ones(1, 3, 8, 8))
    assert list(rows[0]) == ["psnr", "l1", "colour"]
    assert small.verdict(rows).startswith("further from the teacher than")


def test_the_teacher_is_asked_once_about_each_image(held: ImageSet) -> None:
    asked: list[Tensor] = []

    def teacher(images: Tensor) -> Tensor:
        asked.append(images)
        return images

    measure = Tracker(held, teacher, CPU)
    for most, times in ((2, 2), (2, 2), (None, 3), (1, 3)):
        measure(lambda x: x, most)
        assert len(asked) == times
    pairs = measure.pairs()
    assert len(pairs) == 3
    assert all(torch.equal(image, reference) for image, reference in pairs)


def test_a_target_is_judged_as_in_the_end(held: ImageSet) -> None:
    measure = Tracker(held, lambda images: images, CPU)
    rows = measure.each(lambda x: 0.9 * x)
    for metric in ("psnr", "ssim"):
        found = measure.judge(lambda x: 0.9 * x, metric)
        assert found[metric] == means(rows)[metric]
        assert "l1" in found
    assert measure.judge(lambda x: 0.9 * x) == measure(lambda x: 0.9 * x)


def test_waveforms_are_measured_and_shown_as_spectrograms(tmp_path: Path) -> None:
    mels = [torch.rand(4, 32) for _ in range(3)]
    contract = InputContract(channels=4, scale=16, signal=True)
    held = DatasetItems(mels, contract, 32, torch.arange(3))

    def teacher(mel: Tensor) -> Tensor:
        return mel.mean(1, keepdim=True).repeat_interleave(16, 2) - 0.5

    tracked = Tracker(held, teacher, CPU, signal=True)
    assert tracked(teacher) == {"psnr": 100.0, "l1": 0.0, "spectral": 0.0}
    rows = tracked.each(lambda mel: teacher(mel) * 0.5)
    assert rows[0].keys() == {"psnr", "l1", "spectral"}
    assert rows[0]["spectral"] > 0.5
    assert "sampling rate" in tracked.verdict(rows)
    assert tracked.names == ["item 0", "item 1", "item 2"]
    (name,) = tracked.write_samples(teacher, tmp_path / "s", [1])
    picture = read_image(tmp_path / "s" / name).rgb
    assert picture.shape[1] == 257
    half = picture.shape[2] // 2
    assert torch.equal(picture[:, :, :half], picture[:, :, half:])
