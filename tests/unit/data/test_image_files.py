"""Reading single images of every mode, and finding them in folders."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_slimming.data import image_opening as images
from gan_slimming.data.image_files import ImageError, list_images, read_image
from gan_slimming.data.image_opening import open_image
from gan_slimming.errors import UserError


def to_codes(rgb: Tensor) -> list[list[list[int]]]:
    """(3, height, width) in [-1, 1] to nested lists (height, width, 3) of 0 to 255."""
    codes = (rgb + 1.0) * 127.5
    assert torch.allclose(codes, codes.round(), atol=1e-3)
    return codes.round().int().permute(1, 2, 0).tolist()


def write_png(path: Path, colour_type: int, samples: np.ndarray, extra: bytes = b"") -> None:
    """A PNG with 16 bits per sample, which Pillow does not write; (height, width, bands)."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    body = (
        chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255, 255, 255]),
        ("L", 200, [200, 200, 200]),
        ("RGB", (10, 20, 30), [10, 20, 30]),
    ],
)
def test_opaque_modes(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...], expected: list[int]
) -> None:
    Image.new(mode, (3, 2), colour).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert image.rgb.shape == (3, 2, 3)
    assert image.rgb.dtype == torch.float32
    assert image.alpha is None
    assert image.path == tmp_path / "x.png"
    assert to_codes(image.rgb) == [[expected] * 3] * 2


@pytest.mark.parametrize(
    ("mode", "colour", "expected", "alpha"),
    [("LA", (50, 7), [50, 50, 50], 7), ("RGBA", (10, 20, 30, 0), [10, 20, 30], 0)],
)
def test_alpha_is_kept_apart(
    tmp_path: Path, mode: str, colour: tuple[int, ...], expected: list[int], alpha: int
) -> None:
    Image.new(mode, (3, 2), colour).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png")
    assert to_codes(image.rgb) == [[expected] * 3] * 2
    assert image.alpha is not None
    assert image.alpha.dtype == torch.uint8
    assert image.alpha.tolist() == [[alpha] * 3] * 2


@pytest.mark.parametrize("transparency", [None, 1, b"\xff\x40"])
def test_palette(tmp_path: Path, transparency: int | bytes | None) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    options: dict[str, Any] = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "x.png", **options)
    image = read_image(tmp_path / "x.png")
    assert to_codes(image.rgb) == [[[255, 0, 0], [0, 0, 255]]]
    if transparency is None:
        assert image.alpha is None
    else:
        assert image.alpha is not None
        assert image.alpha.tolist() == [[255, 0 if transparency == 1 else 64]]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path: Path, suffix: str) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / f"x.{suffix}")
    rgb = read_image(tmp_path / f"x.{suffix}").rgb
    assert rgb[0].min() > 0.95
    assert rgb[1:].max() < -0.95


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_gray_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    samples = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(samples).save(tmp_path / f"x.{suffix}")
    image = read_image(tmp_path / f"x.{suffix}")
    assert to_codes(image.rgb) == [[[code] * 3 for code in (0, 1, 128, 255)]]


def test_big_endian_16_bit_gray(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 25700, 65535))
    image.save(tmp_path / "x.tif")
    assert to_codes(read_image(tmp_path / "x.tif").rgb) == [[[100] * 3, [255] * 3]]


@pytest.mark.parametrize("bands", [3, 4])
def test_16_bit_colour_is_scaled_not_clipped(tmp_path: Path, bands: int) -> None:
    samples = np.array([[[0, 25700, 65535, 30 * 257]]])[..., :bands]
    write_png(tmp_path / "x.png", colour_type=2 if bands == 3 else 6, samples=samples)
    image = read_image(tmp_path / "x.png")
    assert to_codes(image.rgb) == [[[0, 100, 255]]]
    assert (image.alpha is None) == (bands == 3)


def test_16_bit_colour_with_a_transparent_colour(tmp_path: Path) -> None:
    body = b"tRNS" + struct.pack(">HHH", 65535, 0, 1000)
    extra = struct.pack(">I", 6) + body + struct.pack(">I", zlib.crc32(body))
    write_png(tmp_path / "x.png", 2, np.array([[[0, 25700, 65535]]]), extra)
    image = read_image(tmp_path / "x.png")
    assert to_codes(image.rgb) == [[[0, 100, 255]]]
    assert image.alpha is None


def test_float_samples(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.2, 1.0]], dtype=np.float32)).save(tmp_path / "x.tif")
    assert to_codes(read_image(tmp_path / "x.tif").rgb) == [[[0] * 3, [51] * 3, [255] * 3]]


@pytest.mark.parametrize("sample", [1.5, -0.1, float("nan")])
def test_float_samples_without_an_agreed_white_are_refused(tmp_path: Path, sample: float) -> None:
    Image.fromarray(np.array([[0.0, sample]], dtype=np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match=r"are outside \[0, 1\]; save it with 8 or 16 bits"):
        read_image(tmp_path / "x.tif")


def test_exif_orientation_6_is_turned_upright(tmp_path: Path) -> None:
    # Orientation 6: turn clockwise by a quarter, so that the left column becomes the top row.
    image = Image.new("RGB", (32, 16), "black")
    image.paste("white", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.jpg", exif=exif)
    rgb = read_image(tmp_path / "x.jpg").rgb
    assert rgb.shape == (3, 32, 16)
    assert rgb[:, :14].min() > 0.9
    assert rgb[:, 18:].max() < -0.9


def test_damaged_exif_does_not_lose_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(image: Image.Image) -> Image.Image:
        raise struct.error("damaged")

    monkeypatch.setattr(Image.Image, "getexif", fail)
    Image.new("RGB", (4, 3), "red").save(tmp_path / "x.png")
    assert to_codes(read_image(tmp_path / "x.png").rgb)[0][0] == [255, 0, 0]


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "x.png")
    assert to_codes(read_image(tmp_path / "x.png").rgb) == [[[1, 2, 3]]]


def make_unreadable(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("this is not an image")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, format="JPEG")
        path.write_bytes(path.read_bytes()[:1500])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("text", "it is not an image in a format that Pillow reads"),
        ("empty", r"the file is empty \(0 bytes\)"),
        ("folder", "Is a directory"),
        ("missing", "No such file or directory"),
        ("truncated", "truncated"),
    ],
)
def test_unreadable_files_become_one_line(tmp_path: Path, kind: str, reason: str) -> None:
    path = tmp_path / "x.jpg"
    make_unreadable(path, kind)
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"cannot read image {path}: ")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UserError)
    assert caught.value.path == path


@pytest.mark.parametrize("limit", [100, 40])  # Pillow warns above the limit, raises above twice it
def test_absurdly_large_images_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    Image.new("RGB", (11, 10)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ImageError, match="it is too large; scale it down first"):
        read_image(tmp_path / "x.png")


def test_the_limit_of_pixels_is_this_machines_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (11, 10)).save(tmp_path / "x.png")
    monkeypatch.setattr(images, "free_memory", lambda: 100 * images.PIXEL_BYTES)
    with pytest.raises(ImageError, match=r"too large; scale it down .*11x10 pixels; .* for 100"):
        read_image(tmp_path / "x.png")
    monkeypatch.setattr(images, "free_memory", lambda: 10_000)
    read_image(tmp_path / "x.png")


def test_pillows_own_limit_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (10_000, 9_000)).save(tmp_path / "x.png")  # more than Pillow takes unasked
    with open_image(tmp_path / "x.png") as image:
        assert image.size == (10_000, 9_000)
    assert images.PILLOWS_LIMIT == Image.MAX_IMAGE_PIXELS


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


def test_only_named_formats_are_opened_whatever_a_file_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr("subprocess.Popen", lambda *args, **named: started.append(args))
    picture = Image.new("RGB", (9, 9))
    for kind in ("TGA", "PCX", "ICO", "SGI", "EPS"):
        picture.save(tmp_path / "x.jpg", format=kind)
        with pytest.raises(ImageError, match="not an image in a format"):
            read_image(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").write_bytes(POSTSCRIPT)
    with pytest.raises(ImageError, match="not an image in a format"):
        read_image(tmp_path / "x.jpg")
    assert started == []
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"):
        picture.save(tmp_path / "x.jpg", format=kind)
        assert read_image(tmp_path / "x.jpg").rgb.shape == (3, 9, 9)


def test_pipes_and_devices_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    for path in (tmp_path / "x.png", Path("/dev/zero")):
        with pytest.raises(UserError, match="is no regular file"):
            list_images([path])
        with pytest.raises(UserError, match="is no regular file"):
            read_image(path)
    with pytest.raises(UserError, match="no images found"):
        list_images([tmp_path])


def test_list_images(tmp_path: Path) -> None:
    for name in ("b.PNG", "a/c.jpeg", "a/.d.jpg", ".e/f.jpg", "notes.txt", "a/deep/g.TiF", "h.dat"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nothing")
    expected = [tmp_path / name for name in ("a/c.jpeg", "a/deep/g.TiF", "b.PNG")]
    assert list_images([tmp_path]) == expected
    assert list_images([str(tmp_path), tmp_path / "b.PNG"]) == expected
    assert list_images([tmp_path / "h.dat"]) == [tmp_path / "h.dat"]
    assert list_images([tmp_path / ".e"]) == [tmp_path / ".e" / "f.jpg"]


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.jpg").touch()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert list_images([tmp_path / "set"]) == [tmp_path / "set" / "link" / "x.jpg"]


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder: .*nowhere; check the path"):
        list_images([tmp_path / "nowhere"])
    with pytest.raises(UserError, match=r"no images found in .*; looked for .jpg, .jpeg, .png"):
        list_images([tmp_path])
    with pytest.raises(UserError, match="an empty list of paths"):
        list_images([])
