"""Published facts about real images, with the real weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_slimming.perceptual.features import SqueezeNetFeatures, load_features
from gan_slimming.perceptual.lpips import Lpips, load_lpips

pytestmark = pytest.mark.real_data

ZEBRA = 340


def _image(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    """(1, 3, height, width) in [0, 1]; `size` is (width, height)."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        if size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


@pytest.fixture(scope="module")
def lpips(data_root: Path) -> Lpips:
    return load_lpips(data_root, download=False)


@pytest.mark.parametrize(("kind", "low", "high"), [("fake", 0.62, 0.82), ("real", 0.0, 0.06)])
def test_share_of_zebras_among_horses_and_cyclegans_zebras(
    data_root: Path, kind: str, low: float, high: float
) -> None:
    """SqueezeNet guesses zebra for about 72 % of CycleGAN's images, 2 % of the horses."""
    folder = data_root / "squeezenet1_1" / "squeezenet1_1_imagenet.pth"
    network = load_features("squeezenet", folder)
    assert isinstance(network, SqueezeNetFeatures)
    paths = sorted((data_root / "horse2zebra_test").glob(f"*_{kind}.png"))
    assert len(paths) == 40
    with torch.inference_mode():
        guesses = torch.cat([network.logits(_image(path)).argmax(dim=1) for path in paths])
    assert low <= (guesses == ZEBRA).float().mean().item() <= high


@pytest.mark.parametrize(
    ("damage", "expected"),
    [("shifted", 0.08306977897882462), ("dimmed", 0.002679335419088602),
     ("striped", 0.18053455650806427)],
)  # fmt: skip
def test_lpips_is_that_of_its_authors(lpips: Lpips, damage: str, expected: float) -> None:
    """Values by lpips.LPIPS(net="squeeze"), the authors' code, on the same weights."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(80.0), indexing="ij")
    given = torch.stack([torch.sin(x / 7 + y / 11), torch.cos(x / 5), torch.sin(x * y / 300)])[None]
    damaged = {
        "shifted": given.roll(3, -1),
        "dimmed": given * 0.5,
        "striped": (given + 0.3 * torch.sin(x * 2)).clamp(-1, 1),
    }
    assert lpips(damaged[damage], given).item() == pytest.approx(expected, rel=1e-5)


def test_lpips_between_photos_and_their_cartoons(data_root: Path, lpips: Lpips) -> None:
    cartoons = sorted((data_root / "cartoongan").glob("*_Hayao.jpg"))
    assert len(cartoons) == 4
    for path in cartoons:
        cartoon = _image(path) * 2 - 1
        size = (cartoon.shape[3], cartoon.shape[2])
        photo = _image(path.with_name(path.name.replace("_Hayao", "")), size) * 2 - 1
        with torch.inference_mode():
            assert lpips(cartoon, cartoon).item() == 0
            assert 0.2 < lpips(photo, cartoon).item() < 0.6


def test_vgg19_features_are_normalised(data_root: Path) -> None:
    """The published network was scaled to a mean activation of about one."""
    network = load_features("vgg19", data_root / "vgg19_normalised" / "vgg_normalised_conv3_1.pth")
    paths = sorted((data_root / "photos256").rglob("*.jpg"))[:8]
    with torch.inference_mode():
        found = network(torch.cat([_image(path) for path in paths]))
    means = [features.mean().item() for features in found.values()]
    assert all(0.4 < mean < 1.6 for mean in means), means
