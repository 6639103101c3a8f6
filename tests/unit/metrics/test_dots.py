"""The dot measure in closed form, and what it must not see."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_slimming.config import UserError
from gan_slimming.metrics.dots import LEVELS, dots


def gradient(side: int = 64) -> Tensor:
    """A smooth image (1, 3, side, side), in [-0.5, 0.5]."""
    across = torch.linspace(-0.5, 0.5, side)
    return torch.stack([across.expand(side, side), across[:, None].expand(side, side)] * 2)[
        None, :3
    ]


def lattice(period: int, amplitude: float, side: int = 64) -> Tensor:
    """A pattern of +amplitude and -amplitude, in 8-bit levels, of a period across."""
    sign = torch.where(torch.arange(side) % period < period // 2, 1.0, -1.0)
    return (sign * amplitude / LEVELS).expand(1, 3, side, side)


def test_none_where_images_are_equal() -> None:
    image = torch.rand(2, 3, 48, 64) * 2 - 1
    assert dots(image, image).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("period", [2, 4])
def test_a_lattice_on_a_gradient_gives_its_amplitude(period: int) -> None:
    for amplitude in (0.5, 2.0, 8.0):
        found = dots(gradient() + lattice(period, amplitude), gradient()).item()
        assert found == pytest.approx(amplitude, rel=1e-4)


def test_single_dots_have_the_energy_of_their_pattern() -> None:
    dot = torch.zeros(1, 3, 64, 64)
    dot[..., ::4, ::4] = 16 / LEVELS
    assert dots(gradient() + dot, gradient()).item() == pytest.approx(math.sqrt(15), rel=1e-4)


def test_brightness_and_gradients_count_nothing() -> None:
    image = torch.rand(1, 3, 64, 64) * 0.2
    assert dots(image + 0.3, image).item() == pytest.approx(0, abs=1e-3)
    ramp = torch.linspace(0, 0.2, 64).expand(1, 3, 64, 64)
    assert dots(gradient() + ramp, gradient()).item() == pytest.approx(0, abs=1e-3)
    assert dots(gradient() * 0.5, gradient()).item() == pytest.approx(0, abs=1e-3)


def test_what_the_teacher_has_itself_is_not_counted() -> None:
    teacher = gradient() + lattice(4, 3.0)
    assert dots(teacher, teacher).item() == 0
    assert dots(gradient(), teacher).item() == 0
    more = dots(gradient() + lattice(4, 5.0), teacher).item()
    assert more == pytest.approx(4.0, rel=1e-4)  # 25 - 9 = 16


def test_only_smooth_parts_are_judged() -> None:
    rough = gradient(128)
    rough[..., :64] += (torch.rand(1, 3, 128, 64) - 0.5) * 0.5
    student = rough.clone()
    student[..., :64] += lattice(2, 6.0, 128)[..., :64]
    assert dots(student, rough).item() == 0
    student[..., 64:] += lattice(2, 6.0, 128)[..., 64:]
    assert dots(student, rough).item() > 5


def test_noise_counts_little() -> None:
    noisy = gradient(256) + torch.randn(1, 3, 256, 256) * 8 / LEVELS
    assert dots(noisy, gradient(256)).item() < 8 / 6


def test_small_images() -> None:
    found = dots(gradient(16) + lattice(2, 2.0, 16), gradient(16))
    assert found.item() == pytest.approx(2.0, rel=1e-4)
    with pytest.raises(UserError, match="at least 16x16 pixels, got 12x20"):
        dots(torch.zeros(1, 3, 12, 20), torch.zeros(1, 3, 12, 20))


def test_a_batch_gives_what_each_image_gives() -> None:
    first, second = torch.rand(2, 3, 3, 70, 65).unbind()
    single = torch.cat([dots(a[None], b[None]) for a, b in zip(first, second, strict=True)])
    torch.testing.assert_close(dots(first, second), single)
