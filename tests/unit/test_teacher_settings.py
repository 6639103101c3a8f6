"""Settings of teachers: the published ones, what replaces them, and mistakes."""

from __future__ import annotations

import pytest

from gan_slimming.config.teacher import SCALES, teacher_settings
from gan_slimming.errors import UserError


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("scale", ["smoke", "cpu", "full"])
def test_every_scale_is_whole(name: str, scale: str) -> None:
    settings = teacher_settings(name, scale, {})
    assert (settings.name, settings.scale) == (name, scale)
    assert (settings.minutes == 180) is (scale == "cpu")


def test_full_is_as_published() -> None:
    sngan = teacher_settings("sngan", "full", {})
    assert (sngan.width, sngan.discriminator_width, sngan.discriminator_steps) == (256, 128, 5)
    assert (sngan.batch_size, sngan.generated, sngan.steps) == (64, 128, 50_000)
    assert (sngan.lr, sngan.decay_from) == (2e-4, 0)
    cyclegan = teacher_settings("cyclegan", "full", {})
    assert (cyclegan.width, cyclegan.blocks, cyclegan.size) == (64, 9, 256)
    assert (cyclegan.batch_size, cyclegan.decay_from, cyclegan.lr) == (1, 0.5, 2e-4)
    style = teacher_settings("adaptive-style", "full", {})
    assert (style.width, style.blocks, style.size, style.steps) == (32, 9, 768, 300_000)
    assert style.decay_from == 1


def test_steps_and_minutes_replace_each_other() -> None:
    assert teacher_settings("sngan", "cpu", {"steps": 9}).minutes is None
    assert teacher_settings("sngan", "full", {"minutes": 5.0, "steps": None}).steps is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"steps": 5, "minutes": 2.0}, "name steps or minutes, one of them: got 5 and 2.0"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"ema": 1.0}, r"ema must be in \[0, 1\), got 1.0"),
        ({"decay_from": 2.0}, r"decay_from must be in \[0, 1\], got 2.0"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"minutes": float("nan")}, "minutes must be a finite number"),
    ],
)
def test_mistakes(given: dict[str, float], text: str) -> None:
    with pytest.raises(UserError, match=text):
        teacher_settings("sngan", "cpu", given)


def test_unknown_names() -> None:
    with pytest.raises(UserError, match="no teacher is called 'gan'; take one of sngan, cyclegan"):
        teacher_settings("gan", "cpu", {})
    with pytest.raises(UserError, match="scale must be one of smoke, cpu, full, got 'tiny'"):
        teacher_settings("sngan", "tiny", {})
