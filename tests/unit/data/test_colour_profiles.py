"""Embedded colour profiles."""

import pytest
from PIL import Image, ImageCms

from gan_slimming.data.colour_profiles import to_srgb


def swapped_profile() -> bytes:
    """A profile in which the primaries of red and blue change places."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(content[128:132], "big")
    for place in range(132, 132 + 12 * count, 12):
        tag = bytes(content[place : place + 4])
        new = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(tag, tag)
        content[place : place + 4] = new
    return bytes(content)


def with_profile(mode: str, colour: tuple[int, ...], profile: bytes) -> Image.Image:
    image = Image.new(mode, (3, 2), colour)
    image.info["icc_profile"] = profile
    return image


def test_colours_are_converted_and_the_profile_is_named() -> None:
    image, name = to_srgb(with_profile("RGB", (200, 30, 90), swapped_profile()))
    assert name == "sRGB built-in"
    assert image.getpixel((0, 0)) == (90, 30, 200)
    assert "icc_profile" not in image.info


def test_opacity_stays() -> None:
    image, name = to_srgb(with_profile("RGBA", (200, 30, 90, 7), swapped_profile()))
    assert name
    assert image.getpixel((0, 0)) == (90, 30, 200, 7)


def test_srgb_itself_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    given = with_profile("RGB", (200, 30, 90), profile)
    assert to_srgb(given) == (given, None)


@pytest.mark.parametrize("profile", [b"", b"no profile", swapped_profile()[:300]])
def test_a_damaged_profile_leaves_the_pixels(profile: bytes) -> None:
    given = with_profile("RGB", (200, 30, 90), profile)
    assert to_srgb(given) == (given, None)


def test_grey_keeps_its_values_under_a_profile_of_colour() -> None:
    image, _ = to_srgb(with_profile("L", (120,), swapped_profile()))  # pyright: ignore
    pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert all(abs(value - 120) <= 1 for value in pixel)
