"""SNGAN's game: the hinge loss, n_dis, the average, and what is kept of it."""

from __future__ import annotations

import copy

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from gan_slimming.config.teacher import TeacherSettings, teacher_settings
from gan_slimming.experiments.teachers import sngan
from gan_slimming.experiments.teachers.sngan import SnganGame, build_sngan

PIXELS = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)


def settings(**given: object) -> TeacherSettings:
    return teacher_settings("sngan", "smoke", {"seed": 3, **given})


def game_of(fabric: Fabric, chosen: TeacherSettings) -> SnganGame:
    torch.manual_seed(0)
    return SnganGame(fabric, chosen, build_sngan(chosen), PIXELS)


def test_the_discriminator_takes_n_dis_steps_for_each_of_the_generator(fabric: Fabric) -> None:
    game = game_of(fabric, settings(discriminator_steps=5))
    for taken in range(2):
        game.step(taken)
    steps = [
        {int(state["step"]) for state in player.optimizer.state.values()}
        for player in (game.discriminator, game.generator)
    ]
    assert steps == [{10}, {2}]
    assert game.sampler.drawn == 10 * game.settings.batch_size


def test_both_losses_are_the_hinge(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    game = game_of(fabric, settings(discriminator_steps=1))
    logits: list[Tensor] = []
    game.discriminator.networks["discriminator"].register_forward_hook(
        lambda module, inputs, output: logits.append(output.detach())
    )
    terms = game.step(0)
    real, fake = logits[0].chunk(2)
    hinge = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    assert terms["discriminator"] == pytest.approx(float(hinge), rel=1e-5)
    assert terms["generator"] == pytest.approx(-float(logits[1].mean()), rel=1e-5)


def test_every_layer_of_the_discriminator_has_a_spectral_norm(fabric: Fabric) -> None:
    game = game_of(fabric, settings())
    network = game.discriminator.networks["discriminator"]
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) > 8
    assert all(hasattr(layer, "parametrizations") for layer in layers)


def test_the_generator_follows_adam_of_the_paper(fabric: Fabric) -> None:
    game = game_of(fabric, settings())
    for player in game.players():
        group = player.optimizer.param_groups[0]
        assert (group["lr"], group["betas"]) == (2e-4, (0.0, 0.9))
    game.set_rate(0.25)
    assert [p.optimizer.param_groups[0]["lr"] for p in game.players()] == [5e-5, 5e-5]


def test_the_kept_generator_is_the_average(fabric: Fabric) -> None:
    game = game_of(fabric, settings(ema=0.5))
    before = copy.deepcopy(game.average.state_dict())
    game.step(0)
    now = game.generator.networks["generator"].state_dict()
    for name, mean in game.average.named_parameters():
        # At age 0 the average moves by 0.9, faster than its decay.
        torch.testing.assert_close(mean, before[name] + 0.9 * (now[name] - before[name]))
    kept = game.generators()["teacher"]
    assert torch.equal(kept.c5.weight, game.average.c5.weight)  # pyright: ignore
    plain = game_of(fabric, settings(ema=0.0))
    plain.step(0)
    own = plain.generator.networks["generator"].c5.weight  # pyright: ignore[reportAttributeAccessIssue]
    assert torch.equal(plain.generators()["teacher"].c5.weight, own)  # pyright: ignore


def test_its_batch_statistics_are_its_own(fabric: Fabric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sngan, "STATISTICS_BATCHES", 3)
    game = game_of(fabric, settings())
    game.step(0)
    kept = game.generators()["teacher"]
    assert not kept.training
    assert not torch.equal(kept.b5.running_mean, game.average.b5.running_mean)  # pyright: ignore
    assert game.samples().shape == (64, 3, 32, 32)
    torch.testing.assert_close(game.samples(), game.samples())
