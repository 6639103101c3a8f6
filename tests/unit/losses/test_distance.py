"""The distance of the objective, by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract, Objective
from gan_slimming.errors import UserError
from gan_slimming.losses import distance as module
from gan_slimming.losses.distance import distance_of
from gan_slimming.losses.encoder import EncoderFeatures
from gan_slimming.losses.perceptual import content_and_gram, multiscale_l1
from gan_slimming.models import CartoonGenerator
from gan_slimming.perceptual.spectral import spectral_distance

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, no feature weights are at hand."""
    monkeypatch.setattr(module, "lpips_at_hand", lambda: None)


def test_distances_by_name(tiny_cartoongan: CartoonGenerator) -> None:
    student, teacher = (torch.rand(2, 1, 3, 16, 16) * 2 - 1).unbind()
    contract = InputContract(colour_order="BGR")
    features = EncoderFeatures(tiny_cartoongan, lambda x: (x.flip(1),))
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


@pytest.mark.parametrize("contract", [InputContract(latent_size=4), InputContract(channels=4)])
def test_what_takes_no_images_like_its_own_has_no_encoder(contract: InputContract) -> None:
    teacher = nn.Linear(4, 4)
    assert distance_of(Objective(), teacher, contract, CPU)[0] == "l1"
    with pytest.raises(UserError, match="has no encoder of these; take --distill lpips"):
        distance_of(Objective(distill="encoder"), teacher, contract, CPU)


@pytest.mark.parametrize(("side", "seen"), [(16, 64), (64, 64), (96, 96)])
def test_feature_networks_see_small_images_enlarged(
    monkeypatch: pytest.MonkeyPatch, side: int, seen: int
) -> None:
    shown: list[tuple[int, ...]] = []

    class Features(nn.Module):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            shown.append(tuple(images.shape))
            return {"first": images}

    monkeypatch.setattr(module, "load_features", lambda name: Features())
    student, teacher = (torch.rand(2, 1, 3, side, side) * 2 - 1).unbind()
    distance = distance_of(Objective(distill="vgg19"), nn.Identity(), InputContract(), CPU)[1]
    assert float(distance(student, teacher)) > 0
    assert shown == [(1, 3, seen, seen)] * 2
    shown.clear()
    larger = Objective(distill="paper", upsample_to=128)
    distance_of(larger, nn.Identity(), InputContract(), CPU)[1](student, teacher)
    assert shown == [(1, 3, 128, 128)] * 2


def test_waveforms_have_the_spectral_distance() -> None:
    contract, net = InputContract(channels=4, scale=16, signal=True), nn.Conv1d(4, 1, 1)
    for asked in ("auto", "spectral"):
        name, distance = distance_of(Objective(distill=asked), net, contract, CPU)
        assert name == "spectral"
        made, given = torch.rand(2, 1, 400), torch.rand(2, 1, 400)
        expected = spectral_distance(made, given).mean()
        torch.testing.assert_close(distance(made, given), expected)
    with pytest.raises(UserError, match="--distill vgg19 is for images; take spectral"):
        distance_of(Objective(distill="vgg19"), net, contract, CPU)
    with pytest.raises(UserError, match="--distill spectral is for waveforms; take lpips"):
        distance_of(Objective(distill="spectral"), net, InputContract(), CPU)
