"""What training is judged by: the border to a generator, the distance, the tracker."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract, Objective, UserError
from gan_slimming.data.folder import PictureSet
from gan_slimming.data.image_files import read_picture
from gan_slimming.data.latents import LatentSet
from gan_slimming.losses.encoder import EncoderFeatures
from gan_slimming.losses.perceptual import content_and_gram, multiscale_l1
from gan_slimming.metrics import tracker as quality
from gan_slimming.metrics.tracker import Tracker, border, distance_of
from gan_slimming.models import CartoonGenerator

CPU = torch.device("cpu")
CONTRACT = InputContract(colour_order="BGR", low=0, high=255)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, no feature weights are at hand."""
    monkeypatch.setattr(quality, "find_weights", lambda name: None)


@pytest.fixture
def held() -> PictureSet:
    pixels = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(3))
    return PictureSet(pixels.to(torch.uint8), torch.arange(3), (Path("a"), Path("b"), Path("c")))


def test_the_border_shows_a_generator_its_own_convention() -> None:
    shown: list[Tensor] = []

    class Keeps(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            shown.append(values)
            return values

    picture = torch.rand(1, 3, 4, 4) * 2 - 1
    torch.testing.assert_close(border(CONTRACT)(Keeps())(picture), picture)
    torch.testing.assert_close(shown[0], (picture.flip(1) + 1) * 127.5)


def test_distances_by_name(tiny_cartoongan: CartoonGenerator) -> None:
    student, teacher = (torch.rand(2, 1, 3, 16, 16) * 2 - 1).unbind()
    contract = InputContract(colour_order="BGR")
    features = EncoderFeatures(tiny_cartoongan, lambda x: x.flip(1))
    expected = {
        "l1": multiscale_l1(student, teacher),
        "encoder": content_and_gram(student, teacher, features),
    }
    for name, value in expected.items():
        found, distance = distance_of(Objective(distill=name), tiny_cartoongan, contract, CPU)  # pyright: ignore[reportArgumentType]
        assert found == name
        torch.testing.assert_close(distance(student, teacher), value)
        assert float(distance(teacher, teacher)) == 0
    assert distance_of(Objective(distill="auto"), tiny_cartoongan, contract, CPU)[0] == "encoder"


def test_noise_has_no_encoder() -> None:
    noise = InputContract(latent_size=4)
    teacher = nn.Linear(4, 4)
    assert distance_of(Objective(), teacher, noise, CPU)[0] == "l1"
    with pytest.raises(UserError, match="has no encoder; take --distill lpips"):
        distance_of(Objective(distill="encoder"), teacher, noise, CPU)


@pytest.mark.parametrize(("side", "seen"), [(16, 64), (64, 64), (96, 96)])
def test_feature_networks_see_small_pictures_enlarged(
    monkeypatch: pytest.MonkeyPatch, side: int, seen: int
) -> None:
    shown: list[tuple[int, ...]] = []

    class Features(nn.Module):
        def forward(self, pictures: Tensor) -> dict[str, Tensor]:
            shown.append(tuple(pictures.shape))
            return {"first": pictures}

    monkeypatch.setattr(quality, "load_features", lambda name: Features())
    student, teacher = (torch.rand(2, 1, 3, side, side) * 2 - 1).unbind()
    distance = distance_of(Objective(distill="vgg19"), nn.Identity(), InputContract(), CPU)[1]
    assert float(distance(student, teacher)) > 0
    assert shown == [(1, 3, seen, seen)] * 2
    shown.clear()
    larger = Objective(distill="paper", upsample_to=128)
    distance_of(larger, nn.Identity(), InputContract(), CPU)[1](student, teacher)
    assert shown == [(1, 3, 128, 128)] * 2


def test_samples_show_an_input_as_large_as_what_is_made_of_it(
    held: PictureSet, tmp_path: Path
) -> None:
    def double(pictures: Tensor) -> Tensor:
        return pictures.repeat_interleave(2, -1).repeat_interleave(2, -2)

    Tracker(held, double, CPU).write_samples(lambda x: double(x) * 0, tmp_path / "s", 2)
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert names == ["00_input_teacher_student.png", "01_input_teacher_student.png"]
    row = read_picture(tmp_path / "s" / names[0]).rgb
    assert row.shape == (3, 32, 96)
    assert torch.equal(row[:, :, :32], row[:, :, 32:64])
    assert float(row[:, :, 64:].abs().max()) < 0.01
    noise = LatentSet(2, 4)
    Tracker(noise, lambda z: z.new_zeros(1, 3, 8, 8), CPU).write_samples(
        lambda z: z.new_ones(1, 3, 8, 8), tmp_path / "n", 6
    )
    row = read_picture(tmp_path / "n" / "01_teacher_student.png").rgb
    assert row.shape == (3, 8, 16)
    assert torch.equal(row[:, :, 8:], torch.ones(3, 8, 8))


def test_the_teacher_is_at_no_distance_from_itself(held: PictureSet) -> None:
    found = Tracker(held, lambda x: x * 0.5, CPU)(lambda x: x * 0.5)
    assert found == {"psnr": 100.0, "l1": 0.0}


def test_what_lies_outside_of_a_picture_is_clipped_before_it_is_measured(held: PictureSet) -> None:
    def bright(picture: Tensor) -> Tensor:
        return picture * 0 + 3

    assert Tracker(held, bright, CPU)(lambda picture: picture * 0 + 1)["l1"] == 0.0
    assert Tracker(held, bright, CPU)(lambda picture: picture * 0 - 2)["l1"] == 2.0


def test_measures_are_means_over_the_held_out_pictures(held: PictureSet) -> None:
    tracker = Tracker(held, lambda x: x * 0.5, CPU)
    whole = held.batch(torch.arange(3), torch.zeros(3, dtype=torch.int64))
    found = tracker(lambda x: x * 0.5 + 0.1)
    assert found["l1"] == pytest.approx(0.1, abs=1e-6)
    assert found["psnr"] == pytest.approx(20 * math.log10(2 / 0.1), abs=1e-4)
    first = tracker(lambda x: x, most=1)["l1"]
    assert first == pytest.approx(float((whole[0] * 0.5).abs().mean()), abs=1e-6)


def test_the_teacher_is_asked_once_about_each_picture(held: PictureSet) -> None:
    asked: list[Tensor] = []

    def teacher(pictures: Tensor) -> Tensor:
        asked.append(pictures)
        return pictures

    tracker = Tracker(held, teacher, CPU)
    for most, times in ((2, 2), (2, 2), (None, 3), (1, 3)):
        tracker(lambda x: x, most)
        assert len(asked) == times
    pairs = tracker.pairs()
    assert len(pairs) == 3
    assert all(torch.equal(picture, reference) for picture, reference in pairs)
