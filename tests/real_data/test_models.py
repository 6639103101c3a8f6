"""Published weights through our generators, against the outputs that their authors published."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.metrics.complexity import count
from gan_slimming.models import load_generator, spec_of

pytestmark = pytest.mark.real_data

WIDTHS_INSIDE = [64] * 3 + [128] * 6
"""Of the published compressed CycleGAN's nine blocks."""


def image(path: Path, size: tuple[int, int] | None = None) -> torch.Tensor:
    """(1, 3, height, width), RGB in [-1, 1]; size is (width, height), reached bicubically."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    if size is not None:
        image = image.resize(size, Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return pixels.permute(2, 0, 1)[None] / 127.5 - 1


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two images in [-1, 1]."""
    return 10 * math.log10(4 / (first - second).square().mean().item())


@pytest.fixture(scope="module")
def hayao(data_root: Path) -> nn.Module:
    return load_generator("cartoongan", data_root / "cartoongan" / "Hayao_net_G_fp16.pth")


@pytest.mark.parametrize("name", ["15--324", "4--24", "7--136", "sjtu"])
def test_cartoongan_gives_the_published_images(
    data_root: Path, hayao: nn.Module, name: str
) -> None:
    """The authors resize the longer side to 450 and let the network round the sizes up.

    Their images are JPEGs, which leaves 31.8 to 34.1 dB. Zero padding in the blocks gives
    28.5 to 31.1, RGB order or resizing to a multiple of 4 less than 22.
    """
    folder = data_root / "cartoongan"
    with Image.open(folder / f"{name}.jpg") as file:
        width, height = file.size
    photo = image(folder / f"{name}.jpg", (450, int(450 * height / width)))
    with torch.inference_mode():
        output = hayao(photo.flip(1)).flip(1)
    published = image(folder / f"{name}_Hayao.jpg")
    assert output.shape == published.shape
    assert psnr(output, published) >= 31.5


def test_cartoongan_is_read_in_full(hayao: nn.Module) -> None:
    assert sum(p.numel() for p in hayao.parameters()) == 11_129_667
    assert {p.dtype for p in hayao.parameters()} == {torch.float32}


def test_cyclegan_mobile_gives_a_published_output(data_root: Path) -> None:
    """A compressed CycleGAN, whose widths differ from block to block, gives its own image."""
    folder = data_root / "gancompression_horse2zebra"
    generator = load_generator("cyclegan-mobile", folder / "latest_net_G.pth")
    assert spec_of(generator).arguments["channels"] == [16, 32, 128, *WIDTHS_INSIDE, 32, 16]
    cost = count(generator, (torch.zeros(1, 3, 256, 256),))
    assert cost.parameters == 356_867
    assert cost.macs == 1_845_755_904
    with torch.inference_mode():
        output = generator(image(folder / "input.png"))
    written = ((output + 1) * 127.5).floor() / 127.5 - 1  # they truncate to eight bits
    assert psnr(written, image(folder / "golden_output.png")) > 80


MOSAIC = {
    32: ("mosaic_nc32_fp16.pth", 1_679_235, 10_078_912_512),
    16: ("mosaic_nc16_b1_e2_1e05_1e10.model", 424_899, 2_774_532_096),
    8: ("mosaic_nc8_b1_e2_1e05_1e10.model", 108_771, 821_035_008),
}
"""Width -> file, parameters, MACs of an image of 256 pixels."""


@pytest.fixture(scope="module")
def mosaics(data_root: Path) -> dict[int, nn.Module]:
    folder = data_root / "fast_neural_style"
    return {w: load_generator("fast-style", folder / file) for w, (file, *_) in MOSAIC.items()}


@pytest.mark.parametrize("width", MOSAIC)
def test_the_published_mosaics_are_read_in_full(mosaics: dict[int, nn.Module], width: int) -> None:
    _, parameters, macs = MOSAIC[width]
    assert spec_of(mosaics[width]).arguments == {"width": width}
    cost = count(mosaics[width], (torch.zeros(1, 3, 256, 256),))
    assert (cost.parameters, cost.macs) == (parameters, macs)


def test_the_published_mosaics_draw_alike(data_root: Path, mosaics: dict[int, nn.Module]) -> None:
    """Three networks of one style: 17 and 15 dB from the widest one, the photo 9 dB."""
    photo = image(sorted((data_root / "photos256").rglob("*.jpg"))[0])
    with torch.inference_mode():
        drawn = {w: net((photo + 1) * 127.5) for w, net in mosaics.items()}
    for raw in drawn.values():
        outside = ((raw < 0) | (raw > 255)).float().mean()
        assert outside < 0.06  # the range of its output is [0, 255]
    images = {w: raw.clamp(0, 255) / 127.5 - 1 for w, raw in drawn.items()}
    for width in (16, 8):
        assert psnr(images[width], images[32]) > 14 > 10 > psnr(photo, images[32])


def test_a_compressed_cyclegan_is_refused_by_name(data_root: Path) -> None:
    path = data_root / "gancompression_horse2zebra" / "latest_net_G.pth"
    with pytest.raises(UserError, match=r"does not fit cyclegan\(width=16, blocks=9") as caught:
        load_generator("cyclegan", path)
    assert "unexpected model.10.conv_block.1.conv.0.bias" in str(caught.value)
