"""The discriminator: fresh or the user's, what it is shown, and what it refuses."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from gan_slimming.config import Optimisation, Run, UserError
from gan_slimming.data.folder import PictureSet
from gan_slimming.models import PatchDiscriminator, load_discriminator
from gan_slimming.training.discriminator import Critic, patchgan

RUN = Run(optimisation=Optimisation(discriminator_width=2, replay=0), seed=5)
FABRIC = Fabric(accelerator="cpu", devices=1, precision="32-true")


def of(given: nn.Module) -> Critic:
    return Critic(FABRIC, RUN, None, sides=(8, 16), given=given)


def test_without_one_a_patchgan_is_made_from_the_seed() -> None:
    random = torch.get_rng_state()
    found = Critic(FABRIC, RUN, None, sides=(32, 64)).network
    assert torch.equal(torch.get_rng_state(), random)
    torch.manual_seed(5)
    expected = PatchDiscriminator(2)
    pairs = zip(found.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("side", [8, 16, 31, 32])
def test_small_pictures_get_fewer_layers(side: int) -> None:
    network = patchgan(2, side, 0).train()
    assert network(torch.rand(1, 3, side, side)).numel() >= 1


def test_tiny_pictures_are_refused() -> None:
    with pytest.raises(UserError, match="4x4 pixels are too small for a PatchGAN"):
        patchgan(2, 4, 0)


def test_the_users_is_copied_and_trained() -> None:
    given = nn.Conv2d(3, 1, 4).eval().requires_grad_(False)
    critic = of(given)
    assert critic.network.training
    before = given.weight.clone()
    critic.step(torch.ones(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), 1, 2)
    assert torch.equal(given.weight, before)
    assert isinstance(critic.network, nn.Conv2d)
    assert not torch.equal(critic.network.weight, before)


@pytest.mark.parametrize("name", ["patchgan", "sngan"])
def test_registered_ones_play_and_resume(name: str) -> None:
    given = load_discriminator(name, width=4)
    real, fake = torch.rand(2, 2, 3, 32, 32).unbind()
    sides = (32,)
    critic, other = (Critic(FABRIC, RUN, None, sides=sides, given=given) for _ in range(2))
    critic.step(real, fake, 1, 2)
    other.load_state_dict(copy.deepcopy(critic.state_dict()))
    assert critic.step(real, fake, 1, 2) == other.step(real, fake, 1, 2)
    pairs = zip(critic.network.parameters(), other.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (nn.Conv2d(1, 1, 1), "does not take pictures of 8x8 pixels"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), "does not take pictures of 16x16 pixels"),
        (nn.LSTM(8, 8), "does not take pictures"),
        (nn.AdaptiveMaxPool2d(1, return_indices=True), "must return a tensor of logits, got tuple"),
    ],
)
def test_one_that_cannot_play_is_refused(given: nn.Module, text: str) -> None:
    with pytest.raises(UserError, match=text):
        of(given)


def test_targets_are_mirrored_only_where_that_means_something() -> None:
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    pixels[..., :4] = 255
    targets = PictureSet(pixels, torch.arange(1), (Path("a"),))
    shown: list[torch.Tensor] = []

    class Watch(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            shown.append(input)
            return super().forward(input)

    for views in (1, 2):
        run = replace(RUN, seed=1)
        critic = Critic(FABRIC, run, targets, sides=(8,), given=Watch(3, 1, 8))
        shown.clear()
        for _ in range(10):
            critic.step(torch.zeros(2, 3, 8, 8), torch.zeros(2, 3, 8, 8), 1, views)
        lefts = {float(x[0, 0, 0, 0]) for x in shown[::2]}
        assert lefts == ({1.0, -1.0} if views == 2 else {1.0})
