"""Images of any size through a generator that takes multiples of so many pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.padding import crop_back, pad_to_multiple, run_padded
from gan_slimming.errors import UserError
from gan_slimming.models import infer_spec, load_generator


def adapted(generator: nn.Module) -> GeneratorAdapter:
    return GeneratorAdapter(generator, infer_spec(generator).contract)


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    multiple=st.integers(1, 9),
    minimum=st.integers(1, 30),
)
def test_pad_and_crop_any_size(height: int, width: int, multiple: int, minimum: int) -> None:
    x = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    padded, box = pad_to_multiple(x, multiple, minimum)
    assert torch.equal(crop_back(padded, box), x)
    for got, length in zip(padded.shape[-2:], (height, width), strict=True):
        assert got % multiple == 0
        assert max(minimum, length) <= got < max(minimum, length) + multiple
    bottom, right = padded.shape[-2] - height, padded.shape[-1] - width
    if bottom < height and right < width:
        expected = torch.nn.functional.pad(x, (0, right, 0, bottom), mode="reflect")
        assert torch.equal(padded, expected)


def test_images_too_small_to_reflect_repeat_their_border() -> None:
    padded, box = pad_to_multiple(torch.tensor([[[1.0, 2.0]]]), 4)
    assert padded.tolist() == [[[1.0, 2.0, 2.0, 2.0]] * 4]
    assert box == (1, 2)


def test_padding_an_exact_size_copies_nothing() -> None:
    x = torch.zeros(1, 3, 8, 12)
    padded, _ = pad_to_multiple(x, 4)
    assert padded is x


def test_crop_back_refuses_a_smaller_image() -> None:
    _, box = pad_to_multiple(torch.zeros(3, 8, 8), 4)
    with pytest.raises(ValueError, match="cannot crop 4x8 pixels to the 8x8"):
        crop_back(torch.zeros(3, 4, 8), box)


def test_a_generator_that_gives_another_size_than_it_tells_is_refused() -> None:
    net = nn.Upsample(scale_factor=2)
    assert run_padded(adapted(net), torch.zeros(1, 3, 8, 8)).shape == (1, 3, 16, 16)
    net.contract = InputContract()  # pyright: ignore
    with pytest.raises(UserError, match="3x16x16 of 3x8x8"):
        run_padded(adapted(net), torch.zeros(1, 3, 8, 8))


class Halves(nn.Module):
    """A skip around half the size, which an odd size does not fit; it says nothing of that."""

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor=2)


def test_a_size_that_does_not_fit_is_padded_or_one_line_with_the_way_out() -> None:
    net = Halves()
    assert run_padded(adapted(net), torch.zeros(1, 3, 8, 9)).shape == (1, 3, 8, 9)
    net.contract = InputContract()  # pyright: ignore
    generator = adapted(net)
    assert run_padded(generator, torch.zeros(1, 3, 8, 10)).shape == (1, 3, 8, 10)
    with pytest.raises(UserError, match=r"does not take 3x8x9 .*must say so \(multiple_of\)"):
        run_padded(generator, torch.zeros(1, 3, 8, 9))


def test_a_real_architecture_on_an_odd_size() -> None:
    generator = adapted(load_generator("cartoongan", width=2, blocks=1))
    result = run_padded(generator, torch.rand(1, 3, 13, 7) * 2 - 1)
    assert result.shape == (1, 3, 13, 7)
    assert result.isfinite().all()
