"""Images of any size: in tiles, or refused before memory runs out."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.image_files import ImageError
from gan_slimming.errors import UserError
from gan_slimming.runtime import image_runner
from gan_slimming.runtime.image_runner import ImageRunner

CPU, FILE = torch.device("cpu"), Path("x.png")
SEEN: list[int] = []


class Wide(nn.Module):
    """Ten channels of activations; notes the size of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Conv2d(3, 10, 3, padding=1), nn.Conv2d(10, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        SEEN.append(x.shape[-1] * x.shape[-2])
        return self.out(self.into(x))


def runner(module: nn.Module, tile: int | None = None) -> ImageRunner:
    return ImageRunner(GeneratorAdapter(module.eval(), InputContract()), CPU, tile)


def test_tiles_are_never_larger_than_asked_for() -> None:
    net, image = Wide(), torch.rand(3, 60, 100)
    tiled = runner(net, 32)
    SEEN.clear()
    made = tiled(image, FILE)
    assert max(SEEN) <= (32 + 2 * 2) ** 2
    torch.testing.assert_close(made, runner(net)(image, FILE), atol=1e-5, rtol=0)


def test_a_generator_of_the_whole_image_is_refused_before_any_work() -> None:
    with pytest.raises(UserError, match="leave out --tile"):
        runner(nn.InstanceNorm2d(3), 32)


def test_memory_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_runner, "_LARGE", 1000)
    monkeypatch.setattr(image_runner, "free_bytes", lambda device: 2**21)
    net = Wide()
    assert runner(net)(torch.zeros(3, 20, 40), FILE).shape == (3, 20, 40)  # small: not asked
    assert runner(net)(torch.zeros(3, 100, 100), FILE).shape == (3, 100, 100)
    SEEN.clear()
    with pytest.raises(ImageError, match=r"400x300 pixels: it takes about 0.0 GiB, .* --tile 512"):
        runner(net)(torch.zeros(3, 300, 400), FILE)
    assert max(SEEN) < 300 * 400
    with pytest.raises(ImageError, match=r"free; scale it down$"):
        runner(nn.Sequential(Wide(), nn.InstanceNorm2d(3)))(torch.zeros(3, 300, 400), FILE)


def test_what_one_image_needs_is_that_images_failure() -> None:
    with pytest.raises(ImageError, match="does not take 3x1x1"):
        runner(nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(3, 3, 7)))(torch.zeros(3, 1, 1), FILE)


def test_memory_that_runs_out_all_the_same() -> None:
    class Full(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] > 90:
                raise MemoryError
            return x

    with pytest.raises(ImageError, match="not enough memory for 99x99 pixels"):
        runner(Full())(torch.zeros(3, 99, 99), FILE)
