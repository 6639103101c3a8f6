"""Sixteen bits per channel, in and out."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_slimming.data.deep_colour import read_deep, write_deep
from gan_slimming.data.image_files import read_image, write_image


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_every_sample_comes_back(suffix: str, bands: int) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7, bands)).astype(np.uint16)
    content = write_deep(suffix, samples)
    found = read_deep(content)
    assert found is not None
    assert np.array_equal(np.rint(found * 65535).astype(np.uint16), samples)
    with Image.open(BytesIO(content)) as image:  # as others see it
        image.load()
        assert image.size == (7, 5)
        assert image.mode == {1: "I;16", 3: "RGB", 4: "RGBA"}[bands]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_eight_bits_are_left_to_pillow(mode: str) -> None:
    out = BytesIO()
    Image.new(mode, (4, 3)).save(out, "PNG")
    assert read_deep(out.getvalue()) is None


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_files_keep_their_depth(suffix: str, tmp_path: Path) -> None:
    rgb = torch.linspace(-1, 1, 3 * 40 * 50).reshape(3, 40, 50)
    alpha = torch.arange(2000, dtype=torch.int32).remainder(256).to(torch.uint8).reshape(40, 50)
    write_image(tmp_path / f"x{suffix}", rgb, alpha, deep=True)
    image = read_image(tmp_path / f"x{suffix}")
    assert image.deep
    assert not image.grey
    assert (image.rgb - rgb).abs().max() < 2 / 65535
    assert image.alpha is not None
    assert torch.equal(image.alpha, alpha)
    write_image(tmp_path / f"y{suffix}", rgb[:1], deep=True)
    assert read_image(tmp_path / f"y{suffix}").grey


def test_deep_images_are_turned_upright(tmp_path: Path) -> None:
    samples = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(samples).save(tmp_path / "x.png", exif=exif)
    found = read_image(tmp_path / "x.png").rgb[0]
    assert torch.equal(
        ((found + 1) * 32767.5).round().int(),
        torch.from_numpy(np.rot90(samples, -1).astype(np.int32)),
    )
