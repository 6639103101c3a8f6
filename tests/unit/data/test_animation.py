"""Animated images, frame by frame."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_slimming.data.animation import is_animation, translate_animation
from gan_slimming.data.image_files import ImageError

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
TIMES = [100, 250, 40]


def save(path: Path, mode: str = "RGB", **how: Any) -> Path:
    frames = [Image.new("RGB", (8, 6), colour) for colour in COLOURS]
    if mode == "RGBA":
        for frame in frames:
            frame.putalpha(Image.new("L", (8, 6), 0))
            frame.paste((9, 9, 9, 255), (0, 0, 4, 6))
    kind = "PNG" if path.suffix == ".apng" else None
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], duration=TIMES, **how)
    return path


def inverted(image: Tensor) -> Tensor:
    return -image


def frames_of(path: Path) -> list[tuple[tuple[int, ...], float, int]]:
    """(colour of the last pixel, time, opacity of that pixel) of each frame."""
    found = []
    with Image.open(path) as image:
        for number in range(image.n_frames):  # pyright: ignore[reportAttributeAccessIssue]
            image.seek(number)
            image.load()
            *colour, alpha = np.array(image.convert("RGBA"))[-1, -1].tolist()
            found.append((tuple(colour), image.info["duration"], alpha))
    return found


@pytest.mark.parametrize("suffix", ["gif", "png", "apng", "webp"])
def test_frames_times_and_turns_stay(suffix: str, tmp_path: Path) -> None:
    lossless: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    source = save(tmp_path / f"a.{suffix}", loop=3, **lossless)
    assert is_animation(source)
    target = tmp_path / "new" / source.name
    assert translate_animation(source, target, inverted) == 3
    with Image.open(target) as image:
        assert image.info["loop"] == 3
    made = frames_of(target)
    assert [time for _, time, _ in made] == TIMES
    for (colour, _, _), old in zip(made, COLOURS, strict=True):
        assert colour == pytest.approx([255 - value for value in old], abs=8)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_opacity_stays_and_follows_the_size(suffix: str, tmp_path: Path) -> None:
    source = save(tmp_path / f"a.{suffix}", "RGBA")

    def twice(image: Tensor) -> Tensor:
        return image.repeat_interleave(2, -1).repeat_interleave(2, -2)

    translate_animation(source, tmp_path / f"b.{suffix}", twice)
    with Image.open(tmp_path / f"b.{suffix}") as image:
        assert image.size == (16, 12)
        assert np.array(image.convert("RGBA"))[0, 0, 3] == 255
        assert np.array(image.convert("RGBA"))[0, 15, 3] == 0


def test_a_still_image_is_no_animation(tmp_path: Path) -> None:
    for suffix in ("gif", "png", "webp", "jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"x.{suffix}")
        assert not is_animation(tmp_path / f"x.{suffix}")
    (tmp_path / "bad.gif").write_bytes(b"GIF89a")
    assert not is_animation(tmp_path / "bad.gif")
    assert not is_animation(tmp_path / "none.gif")


def test_damage_leaves_nothing_behind(tmp_path: Path) -> None:
    source = save(tmp_path / "a.gif")
    source.write_bytes(source.read_bytes()[:-20])

    def fails(image: Tensor) -> Tensor:
        raise ImageError(source, "too large", "translate")

    with pytest.raises(ImageError, match="too large"):
        translate_animation(source, tmp_path / "b.gif", fails)
    assert not (tmp_path / "b.gif").exists()
    assert torch.is_tensor(inverted(torch.zeros(1)))
