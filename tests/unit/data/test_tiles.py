"""Tiles equal the whole image, where the generator looks only so far."""

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.padding import run_padded
from gan_slimming.data.tiles import check_tile, reach_of, run_tiled
from gan_slimming.errors import UserError

CPU = torch.device("cpu")


class Squeeze(nn.Module):
    """Weights each channel by its mean over the whole image."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


def adapted(*layers: nn.Module, multiple: int = 1, scale: int = 1) -> GeneratorAdapter:
    contract = InputContract(multiple_of=multiple, min_size=2 * multiple, scale=scale)
    return GeneratorAdapter(nn.Sequential(*layers).eval(), contract)


def local(kind: str) -> GeneratorAdapter:
    torch.manual_seed(0)
    if kind == "plain":
        return adapted(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
    if kind == "strided":
        return adapted(
            nn.ReflectionPad2d(3), nn.Conv2d(3, 4, 7), nn.BatchNorm2d(4), nn.LeakyReLU(),
            nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 4, 2, 1),
            nn.ConvTranspose2d(4, 3, 4, 2, 1), multiple=4,
        )  # fmt: skip
    return adapted(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2), scale=2)


@pytest.mark.parametrize("kind", ["plain", "strided", "larger"])
@pytest.mark.parametrize("tile", [7, 32, 500])
def test_tiles_equal_the_whole(kind: str, tile: int) -> None:
    generator = local(kind)
    image = torch.rand(1, 3, 43, 90) * 2 - 1
    reach = reach_of(generator, CPU)
    assert reach is not None
    whole = run_padded(generator, image)
    torch.testing.assert_close(run_tiled(generator, image, tile, reach), whole, atol=1e-5, rtol=0)
    if tile == 7 and kind == "plain":  # the test bites: without surroundings there are seams
        assert not torch.allclose(run_tiled(generator, image, tile, 0), whole, atol=1e-3)


def test_the_reach_is_that_of_the_kernels() -> None:
    assert reach_of(local("plain"), CPU) == 3 + 1
    assert reach_of(adapted(nn.Conv2d(3, 3, 1)), CPU) == 1


@pytest.mark.parametrize("layer", [nn.InstanceNorm2d(3), nn.GroupNorm(1, 3), Squeeze()])
def test_what_looks_at_the_whole_image_has_no_reach(layer: nn.Module) -> None:
    assert reach_of(adapted(nn.Conv2d(3, 3, 3, padding=1), layer), CPU) is None


def test_mistakes() -> None:
    assert check_tile(5, 3) == 3
    with pytest.raises(UserError, match="tile must be at least 1 pixel, got 0"):
        check_tile(0, 3)
    with pytest.raises(UserError, match="looks at the whole image"):
        check_tile(64, None)
