"""The discriminator: fresh or the user's, what it is shown, and what it refuses."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from gan_slimming.config import Objective, Optimisation, Run
from gan_slimming.data.folder import ImageSet
from gan_slimming.errors import UserError
from gan_slimming.models import PatchDiscriminator, load_discriminator
from gan_slimming.training.discriminator import DiscriminatorTrainer, patchgan

RUN = Run(
    objective=Objective(adversarial="lsgan"),
    optimisation=Optimisation(discriminator_width=2, replay=0),
    seed=5,
)
FABRIC = Fabric(accelerator="cpu", devices=1, precision="32-true")


def of(given: nn.Module) -> DiscriminatorTrainer:
    return DiscriminatorTrainer(FABRIC, RUN, None, sides=(8, 16), given=given)


def test_without_one_a_patchgan_is_made_from_the_seed() -> None:
    random = torch.get_rng_state()
    found = DiscriminatorTrainer(FABRIC, RUN, None, sides=(32, 64)).network
    assert torch.equal(torch.get_rng_state(), random)
    torch.manual_seed(5)
    expected = PatchDiscriminator(2)
    pairs = zip(found.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("side", [8, 16, 31, 32])
def test_small_images_get_fewer_layers(side: int) -> None:
    network = patchgan(2, side, 0).train()
    assert network(torch.rand(1, 3, side, side)).numel() >= 1


def test_tiny_images_are_refused() -> None:
    with pytest.raises(UserError, match="4x4 pixels are too small for a PatchGAN"):
        patchgan(2, 4, 0)


def test_the_users_is_copied_and_trained() -> None:
    given = nn.Conv2d(3, 1, 4).eval().requires_grad_(False)
    discriminator = of(given)
    assert discriminator.network.training
    before = given.weight.clone()
    discriminator.step(torch.ones(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), 1, 2)
    assert torch.equal(given.weight, before)
    assert isinstance(discriminator.network, nn.Conv2d)
    assert not torch.equal(discriminator.network.weight, before)


@pytest.mark.parametrize("name", ["patchgan", "sngan"])
def test_registered_ones_play_and_resume(name: str) -> None:
    given = load_discriminator(name, width=4)
    real, fake = torch.rand(2, 2, 3, 32, 32).unbind()
    sides = (32,)
    discriminator, other = (
        DiscriminatorTrainer(FABRIC, RUN, None, sides=sides, given=given) for _ in range(2)
    )
    discriminator.step(real, fake, 1, 2)
    other.load_state_dict(copy.deepcopy(discriminator.state_dict()))
    assert discriminator.step(real, fake, 1, 2) == other.step(real, fake, 1, 2)
    pairs = zip(discriminator.network.parameters(), other.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (nn.Conv2d(1, 1, 1), "does not take images of 8x8 pixels"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), "does not take images of 16x16 pixels"),
        (nn.LSTM(8, 8), "does not take images"),
        (nn.AdaptiveMaxPool2d(1, return_indices=True), "must return a tensor of logits, got tuple"),
    ],
)
def test_one_that_cannot_play_is_refused(given: nn.Module, text: str) -> None:
    with pytest.raises(UserError, match=text):
        of(given)


def test_targets_are_mirrored_only_where_that_means_something() -> None:
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    pixels[..., :4] = 255
    targets = ImageSet(pixels, torch.arange(1), (Path("a"),))
    shown: list[torch.Tensor] = []

    class Watch(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            shown.append(input)
            return super().forward(input)

    for augmentations in (1, 2):
        run = replace(RUN, seed=1)
        discriminator = DiscriminatorTrainer(FABRIC, run, targets, sides=(8,), given=Watch(3, 1, 8))
        shown.clear()
        for _ in range(10):
            discriminator.step(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), 1, augmentations)
        lefts = {float(x[0, 0, 0, 0]) for x in shown[::2]}
        assert lefts == ({1.0, -1.0} if augmentations == 2 else {1.0})
