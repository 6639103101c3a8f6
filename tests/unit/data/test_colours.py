"""Colour matching: the moments of Gatys et al. 2016, and images without any variance."""

import pytest
import torch

from gan_slimming.data.colours import match_colours


def moments(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    colours = image.double().flatten(1)
    return colours.mean(1), torch.cov(colours, correction=0)


def random_image(seed: int, scale: float, shift: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.eye(3) + 0.5 * torch.rand(3, 3, generator=generator)
    noise = torch.randn(3, 24 * 20, generator=generator)
    return ((mix @ noise) * scale + shift).reshape(3, 24, 20)


def test_mean_and_covariance_become_those_of_the_photo() -> None:
    output, photo = random_image(1, 0.05, 0.2), random_image(2, 0.08, -0.3)
    mean, covariance = moments(match_colours(output, photo))
    wanted_mean, wanted_covariance = moments(photo)
    torch.testing.assert_close(mean, wanted_mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(covariance, wanted_covariance, rtol=0.02, atol=1e-5)


def test_colours_that_match_already_stay() -> None:
    photo = random_image(3, 0.1, 0.0)
    torch.testing.assert_close(match_colours(photo, photo), photo, rtol=0, atol=1e-5)


@pytest.mark.parametrize("flat_side", ["output", "photo", "both"])
def test_flat_images_stay_finite(flat_side: str) -> None:
    flat, lively = torch.full((3, 8, 8), 0.25), random_image(4, 0.2, 0.1)
    output = lively if flat_side == "photo" else flat
    photo = lively if flat_side == "output" else flat
    result = match_colours(output, photo)
    assert result.isfinite().all()
    assert result.shape == output.shape
    torch.testing.assert_close(
        result.mean((1, 2)), photo.clamp(-1, 1).mean((1, 2)), rtol=0, atol=0.01
    )


def test_a_grey_image_keeps_its_grey() -> None:
    ramp = torch.linspace(-0.5, 0.5, 64).reshape(1, 8, 8).repeat(3, 1, 1)
    torch.testing.assert_close(match_colours(ramp, ramp * 0.5), ramp * 0.5, rtol=0, atol=1e-3)


def test_noise_below_a_grey_level_is_not_blown_up() -> None:
    noise = 1e-4 * torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(5))
    result = match_colours(noise, random_image(6, 0.2, 0.0))
    assert result.std() < 0.02


def test_transparent_pixels_do_not_count() -> None:
    output, photo = random_image(7, 0.05, 0.0), random_image(8, 0.05, 0.3)
    alpha = torch.full((24, 20), 255, dtype=torch.uint8)
    alpha[:, 10:] = 0
    hidden = photo.clone()
    hidden[:, :, 10:] = -1.0
    shown = match_colours(output, photo, alpha)[:, :, :10]
    torch.testing.assert_close(match_colours(output, hidden, alpha)[:, :, :10], shown)
    assert torch.equal(match_colours(output, photo, torch.zeros(24, 20)), output)
