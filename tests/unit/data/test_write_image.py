"""Writing single images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from gan_slimming.data.image_files import ImageError, read_image, write_image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "TIFF", "PNG"])
def test_lossless_round_trip(tmp_path: Path, suffix: str) -> None:
    codes = torch.arange(3 * 16 * 16).reshape(3, 16, 16) % 256
    rgb = codes.float() / 127.5 - 1.0
    write_image(tmp_path / "new" / f"x.{suffix}", rgb)
    image = read_image(tmp_path / "new" / f"x.{suffix}")
    assert torch.equal(image.rgb, rgb)
    assert image.alpha is None
    assert os.listdir(tmp_path / "new") == [f"x.{suffix}"]


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_lossy_round_trip_is_close(tmp_path: Path, suffix: str) -> None:
    ramp = (
        torch.linspace(-1, 1, 32).expand(3, 32, 32) * torch.tensor([1.0, -1.0, 0.5])[:, None, None]
    )
    write_image(tmp_path / f"x.{suffix}", ramp)
    assert (read_image(tmp_path / f"x.{suffix}").rgb - ramp).abs().max() < 0.06


def test_jpeg_keeps_full_chroma(tmp_path: Path) -> None:
    write_image(tmp_path / "x.jpg", torch.zeros(3, 16, 16))
    with Image.open(tmp_path / "x.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # pyright: ignore


def test_values_are_clamped_and_rounded(tmp_path: Path) -> None:
    rgb = torch.tensor([-9.0, 9.0, 100.4 / 127.5 - 1, 100.6 / 127.5 - 1]).expand(3, 1, 4)
    write_image(tmp_path / "x.png", rgb)
    written = (read_image(tmp_path / "x.png").rgb + 1) * 127.5
    assert written[0, 0].round().tolist() == [0, 255, 100, 101]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_alpha_round_trip(tmp_path: Path, suffix: str) -> None:
    alpha = torch.arange(12, dtype=torch.uint8).reshape(3, 4) * 20
    rgb = torch.ones(3, 3, 4)
    write_image(tmp_path / f"x.{suffix}", rgb, alpha)
    image = read_image(tmp_path / f"x.{suffix}")
    assert image.alpha is not None
    assert torch.equal(image.alpha, alpha)
    assert torch.equal(image.rgb, rgb)


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_formats_without_alpha_show_white(tmp_path: Path, suffix: str) -> None:
    alpha = torch.zeros(8, 8, dtype=torch.uint8)
    write_image(tmp_path / f"x.{suffix}", -torch.ones(3, 8, 8), alpha)
    image = read_image(tmp_path / f"x.{suffix}")
    assert image.alpha is None
    assert image.rgb.min() > 0.98


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    write_image(path, torch.ones(3, 2, 2))
    before = path.read_bytes()

    def fail(self: Image.Image, target: Path, **options: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ImageError, match=r"cannot write image .*x.png: No space left on device"):
        write_image(path, -torch.ones(3, 2, 2))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.png"]


def test_the_target_changes_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    write_image(path, torch.ones(3, 2, 2))
    before = path.read_bytes()

    def fail(source: Path, target: Path) -> None:
        assert Path(source).parent == Path(target).parent
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ImageError, match="Permission denied"):
        write_image(path, -torch.ones(3, 2, 2))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.png"]


def test_unwritable_targets(tmp_path: Path) -> None:
    rgb = torch.zeros(3, 2, 2)
    with pytest.raises(ImageError, match=r"unknown suffix '.xyz'; use one of .jpg, .jpeg"):
        write_image(tmp_path / "x.xyz", rgb)
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=r"cannot write image .*: File exists"):
        write_image(tmp_path / "file" / "x.png", rgb)
    with pytest.raises(ImageError, match="not numbers"):
        write_image(tmp_path / "x.png", rgb * float("nan"))
    with pytest.raises(ImageError, match="cannot write image"):
        write_image(tmp_path / "x.webp", torch.zeros(3, 1, 16384))
    assert os.listdir(tmp_path) == ["file"]


def test_wrong_shapes_are_our_own_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rgb must be"):
        write_image(tmp_path / "x.png", torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="does not fit"):
        write_image(tmp_path / "x.png", torch.zeros(3, 4, 4), torch.zeros(4, 5))
