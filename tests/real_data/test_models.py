"""Published weights through our generators, against the outputs that their authors published."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gan_slimming.config import UserError
from gan_slimming.models import ResnetGenerator, load_generator, read_state_dict
from gan_slimming.models.cyclegan import ResnetBlock

pytestmark = pytest.mark.real_data


def picture(path: Path, size: tuple[int, int] | None = None) -> torch.Tensor:
    """(1, 3, height, width), RGB in [-1, 1]; size is (width, height), reached bicubically."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    if size is not None:
        image = image.resize(size, Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return pixels.permute(2, 0, 1)[None] / 127.5 - 1


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two pictures in [-1, 1]."""
    return 10 * math.log10(4 / (first - second).square().mean().item())


@pytest.fixture(scope="module")
def hayao(data_root: Path) -> nn.Module:
    return load_generator("cartoongan", data_root / "cartoongan" / "Hayao_net_G_fp16.pth")


@pytest.mark.parametrize("name", ["15--324", "4--24", "7--136", "sjtu"])
def test_cartoongan_gives_the_published_pictures(
    data_root: Path, hayao: nn.Module, name: str
) -> None:
    """The authors resize the longer side to 450 and let the network round the sizes up.

    Their pictures are JPEGs, which leaves 31.8 to 34.1 dB. Zero padding in the blocks gives
    28.5 to 31.1, RGB order or resizing to a multiple of 4 less than 22.
    """
    folder = data_root / "cartoongan"
    with Image.open(folder / f"{name}.jpg") as file:
        width, height = file.size
    photo = picture(folder / f"{name}.jpg", (450, int(450 * height / width)))
    with torch.inference_mode():
        output = hayao(photo.flip(1)).flip(1)
    published = picture(folder / f"{name}_Hayao.jpg")
    assert output.shape == published.shape
    assert psnr(output, published) >= 31.5


def test_cartoongan_is_read_in_full(hayao: nn.Module) -> None:
    assert sum(p.numel() for p in hayao.parameters()) == 11_129_667
    assert {p.dtype for p in hayao.parameters()} == {torch.float32}


def separable(depth: torch.Tensor, point: torch.Tensor) -> nn.Sequential:
    """A depthwise 3x3 convolution, a norm and a 1x1 convolution, of these weights' sizes."""
    return nn.Sequential(
        nn.Conv2d(len(depth), len(depth), 3, groups=len(depth)),
        nn.InstanceNorm2d(len(depth)),
        nn.Conv2d(point.shape[1], len(point), 1),
    )


def with_convolutions_of(state: dict[str, torch.Tensor]) -> nn.Sequential:
    """Our CycleGAN layout with convolutions of the sizes of a compressed network's weights."""
    model = ResnetGenerator(width=1).model
    for place, module in enumerate(model):
        if isinstance(module, ResnetBlock):
            for mine, theirs in ((1, 1), (5, 6)):  # it was trained with dropout
                prefix = f"model.{place}.conv_block.{theirs}.conv"
                point = state[f"{prefix}.2.weight"]
                module.conv_block[mine] = separable(state[f"{prefix}.0.weight"], point)
                module.conv_block[mine + 1] = nn.InstanceNorm2d(len(point))
        elif isinstance(module, nn.ConvTranspose2d):
            wide, narrow = state[f"model.{place}.weight"].shape[:2]
            model[place] = nn.ConvTranspose2d(wide, narrow, 3, 2, padding=1, output_padding=1)
            model[place + 1] = nn.InstanceNorm2d(narrow)
        elif isinstance(module, nn.Conv2d):
            wide, narrow, size, _ = state[f"model.{place}.weight"].shape
            padding = 1 if size == 3 else 0
            model[place] = nn.Conv2d(narrow, wide, size, module.stride[0], padding)
            if place < 26:  # behind the output convolution stands the tanh
                model[place + 1] = nn.InstanceNorm2d(wide)
    return model


def test_cyclegan_layout_gives_a_published_output(data_root: Path) -> None:
    """A compressed CycleGAN: our layout with its own convolutions in place gives its picture."""
    folder = data_root / "gancompression_horse2zebra"
    state = read_state_dict(folder / "latest_net_G.pth")
    model = with_convolutions_of(state)
    places = {"model.": "", "conv_block.6.": "conv_block.5.", ".conv.": "."}
    for theirs, mine in places.items():
        state = {name.replace(theirs, mine, 1): tensor for name, tensor in state.items()}
    model.load_state_dict(state)
    with torch.inference_mode():
        output = model.eval()(picture(folder / "input.png"))
    written = ((output + 1) * 127.5).floor() / 127.5 - 1  # they truncate to eight bits
    assert psnr(written, picture(folder / "golden_output.png")) > 80


def test_a_compressed_cyclegan_is_refused_by_name(data_root: Path) -> None:
    path = data_root / "gancompression_horse2zebra" / "latest_net_G.pth"
    with pytest.raises(UserError, match=r"does not fit cyclegan\(width=16, blocks=9") as caught:
        load_generator("cyclegan", path)
    assert "unexpected model.10.conv_block.1.conv.0.bias" in str(caught.value)
