"""CycleGAN's game: its terms and weights, the replay buffers, both directions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config.teacher import teacher_settings
from gan_slimming.experiments.teachers.cyclegan import CycleganGame
from gan_slimming.experiments.teachers.random_crops import open_crops


class Shift(nn.Module):
    """A generator that adds a trained number."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.by


def game_of(fabric: Fabric, pair: tuple[Path, Path], forth: float, back: float) -> CycleganGame:
    settings = teacher_settings("cyclegan", "smoke", {})
    a, b = (open_crops(folder, settings.size, 1, 0, folder.name) for folder in pair)
    return CycleganGame(fabric, settings, Shift(forth), Shift(back), a, b)


def test_cycle_and_identity_are_as_in_the_paper(fabric: Fabric, pair: tuple[Path, Path]) -> None:
    game = game_of(fabric, pair, 0.5, -0.2)
    terms = game.step(0)
    assert terms["cycle"] == pytest.approx(2 * 0.3, rel=1e-4)
    assert terms["identity"] == pytest.approx(0.5 + 0.2, rel=1e-4)


def test_generators_that_undo_each_other_have_no_cycle_loss(
    fabric: Fabric, pair: tuple[Path, Path]
) -> None:
    assert game_of(fabric, pair, 0.25, -0.25).step(0)["cycle"] == pytest.approx(0, abs=1e-6)


def test_the_terms_are_weighted(
    fabric: Fabric, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    game = game_of(fabric, pair, 0.5, -0.2)
    taken: list[float] = []
    own = game.generators_.step
    monkeypatch.setattr(
        game.generators_, "step", lambda loss: (taken.append(loss.item()), own(loss))
    )
    terms = game.step(0)
    whole = terms["adversarial"] + 10 * terms["cycle"] + 5 * terms["identity"]
    assert taken == [pytest.approx(whole, rel=1e-5)]


def test_discriminators_see_replayed_images(fabric: Fabric, pair: tuple[Path, Path]) -> None:
    game = game_of(fabric, pair, 0.5, -0.2)
    for taken in range(3):
        game.step(taken)
    assert [len(game.replay[kind]) for kind in "ab"] == [3, 3]
    assert game.replay["a"].size == 50
    state = game.replay["b"].state_dict()["images"][0]
    assert state.shape == (3, 32, 32)


def test_every_network_gets_a_gradient_step(fabric: Fabric, pair: tuple[Path, Path]) -> None:
    game = game_of(fabric, pair, 0.5, -0.2)
    networks = (*game.generators().values(), *game.discriminators().values())
    before = [[p.detach().clone() for p in network.parameters()] for network in networks]
    game.step(0)
    for network, old in zip(networks, before, strict=True):
        assert any(not torch.equal(p, q) for p, q in zip(network.parameters(), old, strict=True))


def test_samples_show_inputs_and_outputs(fabric: Fabric, pair: tuple[Path, Path]) -> None:
    shown = game_of(fabric, pair, 0.5, -0.2).samples()
    assert shown.shape == (16, 3, 32, 32)
    torch.testing.assert_close(shown[1], shown[0] + 0.5)
    torch.testing.assert_close(shown[9], shown[8] - 0.2)
