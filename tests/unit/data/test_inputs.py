"""What a generator is fed: the border to it, its zeros, and the side of what it makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract, UserError
from gan_slimming.data.folder import PictureSet
from gan_slimming.data.inputs import enlarged, example_inputs, output_side, shrunk, to_inputs

NOISE = InputContract(latent_size=5)
CLASSES = InputContract(latent_size=5, classes=3)


class Maker(nn.Module):
    """Anything to pictures of `shape`; its parameter counts calls in training mode."""

    def __init__(self, *shape: int, scale: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.shape, self.scale = shape, scale
        self.seen: list[tuple[Tensor, ...]] = []

    def forward(self, *inputs: Tensor) -> Tensor:
        assert not self.training
        self.seen.append(inputs)
        if self.scale:
            return inputs[0].repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)
        return torch.rand(self.shape)


def test_pictures_change_to_the_generators_convention_and_noise_does_not() -> None:
    picture = torch.rand(1, 3, 4, 4) * 2 - 1
    contract = InputContract(low=0, colour_order="BGR")
    torch.testing.assert_close(to_inputs((picture,), contract), ((picture.flip(1) + 1) / 2,))
    fed = (torch.rand(2, 5), torch.tensor([1, 2]))
    assert to_inputs(fed, CLASSES) is fed


class Several(nn.Module):
    def forward(self, noise: Tensor) -> list[Tensor]:
        return [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 4, 4)]


def test_zeros_of_the_right_kinds() -> None:
    double = nn.Linear(1, 1).double()
    assert [x.shape for x in example_inputs(InputContract(), 8)] == [(1, 3, 8, 8)]
    assert [x.shape for x in example_inputs(NOISE, 8)] == [(1, 5)]
    latents, label = example_inputs(CLASSES, 8, double)
    assert (latents.dtype, label.dtype) == (torch.float64, torch.int64)
    assert (latents.shape, label.shape) == ((1, 5), (1,))


def test_the_side_is_found_by_running_the_generator() -> None:
    before = torch.get_rng_state()
    maker = Maker(1, 3, 12, 12)
    assert output_side(maker, CLASSES, 256) == 12
    assert [len(inputs) for inputs in maker.seen] == [2]
    assert maker.training
    assert output_side(Maker(scale=4), InputContract(scale=4), 8) == 32
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("maker", "contract", "text"),
    [
        (Maker(1, 2, 8, 8), NOISE, r"makes \(1, 2, 8, 8\) of \(1, 5\); it must make square"),
        (Maker(1, 3, 8, 8), InputContract(channels=4), "contract says 4; wrap it in a module"),
        (Maker(1, 3, 8, 9), NOISE, "square pictures"),
        (Maker(1, 3), NOISE, "square pictures"),
        (Several(), NOISE, "makes 2 outputs; name a factory whose module returns the picture"),
        (Maker(scale=2), InputContract(), "makes 16x16 of 8x8.*scale=1; set scale to 2"),
        (nn.Linear(6, 1), NOISE, r"does not take \(1, 5\), which its InputContract says"),
        (nn.Conv2d(3, 3, 1), CLASSES, r"does not take \(1, 5\) and \(1,\)"),
    ],
)
def test_a_generator_unlike_its_contract_is_told(
    maker: nn.Module, contract: InputContract, text: str
) -> None:
    with pytest.raises(UserError, match=text):
        output_side(maker, contract, 8)


def test_small_pictures_are_enlarged_and_others_left() -> None:
    picture = torch.rand(1, 3, 16, 24)
    assert enlarged(picture, 16) is picture
    large = enlarged(picture, 32)
    assert large.shape == (1, 3, 32, 48)
    torch.testing.assert_close(shrunk(large, 2).mean(), picture.mean(), rtol=0, atol=0.01)
    flat = enlarged(torch.full((1, 3, 4, 4), 0.3), 64)
    torch.testing.assert_close(flat, torch.full((1, 3, 64, 64), 0.3))


def test_a_set_of_pictures_is_a_feed() -> None:
    pixels = torch.randint(0, 256, (3, 3, 8, 8)).to(torch.uint8)
    pictures = PictureSet(pixels, torch.arange(3), (Path("a"), Path("b"), Path("c")))
    chosen = torch.tensor([2, 0]), torch.tensor([1, 0])
    (straight,) = pictures.fed(*chosen)
    assert torch.equal(straight, pictures.batch(*chosen))
    (small,) = pictures.fed(*chosen, shrink=2)
    torch.testing.assert_close(small, shrunk(straight, 2))
    assert pictures.views() == 2 < pictures.views(2, draws=100)
