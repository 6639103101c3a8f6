"""Adaptive style transfer's game: each loss by hand, and whose turn it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from gan_slimming.config.teacher import teacher_settings
from gan_slimming.experiments.teachers.random_crops import open_crops
from gan_slimming.experiments.teachers.style import (
    WIN_RATE,
    Balance,
    StyleGame,
    build_style,
    several_layers,
    style_aware_content,
    transformed_image,
)
from gan_slimming.experiments.teachers.style_discriminator import StyleDiscriminator, share_right


def game_of(fabric: Fabric, pair: tuple[Path, Path]) -> StyleGame:
    settings = teacher_settings("adaptive-style", "smoke", {})
    photos, paintings = (open_crops(folder, settings.size, 1, 0, folder.name) for folder in pair)
    return StyleGame(fabric, settings, build_style(settings), photos, paintings)


def test_content_is_the_mean_absolute_difference() -> None:
    assert float(style_aware_content(torch.ones(1, 2, 2, 2), torch.full((1, 2, 2, 2), -0.5))) == 1.5


def test_the_image_loss_sees_means_alone() -> None:
    wanted = torch.zeros(1, 3, 20, 20)
    stripes = wanted.clone()
    stripes[..., ::2] = 0.5
    stripes[..., 1::2] = -0.5
    assert float(transformed_image(stripes, wanted)) == pytest.approx(0, abs=1e-12)
    assert float(transformed_image(wanted + 0.3, wanted)) == pytest.approx(0.09, rel=1e-5)


def test_the_discriminator_s_loss_is_a_sum_over_judges() -> None:
    zero = [torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)]
    log2 = float(torch.tensor(2.0).log())
    assert float(several_layers(zero, zero, zero)) == pytest.approx(6 * log2, rel=1e-5)
    sure = [[sign * 50 + x for x in zero] for sign in (1, -1, -1)]
    assert float(several_layers(*sure)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("size", "judges"), [(32, 3), (64, 3), (128, 4), (256, 5), (768, 5)])
def test_layers_and_judges_follow_the_size(size: int, judges: int) -> None:
    discriminator = StyleDiscriminator(1, size)
    with torch.no_grad():
        maps = discriminator(torch.randn(1, 3, size, size))
    assert len(maps) == judges
    assert all(x.shape[:2] == (1, 1) for x in maps)
    assert maps[0].shape[-1] == size // 2


def test_the_share_of_right_judgements() -> None:
    logits = [torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0, 3.0]])]
    assert float(share_right(logits, True)) == 0.75
    assert float(share_right(logits, False)) == 0.25


def test_whose_turn_it_is(fabric: Fabric, pair: tuple[Path, Path]) -> None:
    game = game_of(fabric, pair)
    assert "content" in game.step(0)  # it begins at the win rate
    game.balance.right = WIN_RATE - 0.01
    assert "content" not in game.step(1)
    assert "discriminator" in game.step(2) or game.balance.right >= WIN_RATE


def test_the_running_share() -> None:
    balance = Balance()
    balance.note(0.4)
    assert balance.right == pytest.approx(0.95 * 0.8 + 0.05 * 0.4)
    other = Balance()
    other.load_state_dict(balance.state_dict())
    assert other.right == balance.right


def test_samples_show_photos_and_paintings(fabric: Fabric, pair: tuple[Path, Path]) -> None:
    game = game_of(fabric, pair)
    assert game.samples().shape == (8, 3, 32, 32)
    assert game.generators()["teacher"] is game.generator.networks["generator"]
