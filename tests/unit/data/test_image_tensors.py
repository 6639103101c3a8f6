"""A generator's own convention, and padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import from_contract, to_contract
from gan_slimming.data.image_files import crop_back, pad_to_multiple
from gan_slimming.errors import UserError


def test_default_contract_changes_nothing() -> None:
    x = torch.rand(2, 3, 4, 5) * 2 - 1
    assert torch.equal(to_contract(x, InputContract()), x)
    assert torch.equal(from_contract(x, InputContract()), x)


def test_contract_order_and_range() -> None:
    contract = InputContract(low=0.0, high=255.0, colour_order="BGR")
    red = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)
    converted = to_contract(red, contract)
    assert converted.flatten().tolist() == [127.5, 0.0, 255.0]
    assert torch.equal(from_contract(converted, contract), red)


@given(low=st.floats(-300, 0), extent=st.floats(0.5, 600), order=st.sampled_from(["RGB", "BGR"]))
def test_contract_round_trip(low: float, extent: float, order: str) -> None:
    contract = InputContract(low=low, high=low + extent, colour_order=order)
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(1, 3, 2, 2)
    there = to_contract(x, contract)
    assert there.min().item() == pytest.approx(low, abs=1e-9)
    assert there.max().item() == pytest.approx(low + extent, abs=1e-9)
    assert torch.allclose(from_contract(there, contract), x, atol=1e-10)


def test_a_grey_generator_is_fed_luma_and_its_grey_image_has_three_equal_channels() -> None:
    contract = InputContract(channels=1, low=0.0, high=255.0, colour_order="BGR")
    colours = torch.rand(2, 3, 4, 5) * 2 - 1
    grey = to_contract(colours, contract)
    as_bytes = ((colours[0] + 1) * 127.5).round().permute(1, 2, 0).to(torch.uint8).numpy()
    expected = torch.from_numpy(np.array(Image.fromarray(as_bytes).convert("L"))).float()
    assert grey.shape == (2, 1, 4, 5)
    assert torch.allclose(grey[0, 0], expected, atol=1.1)
    back = from_contract(grey, contract)
    assert back.shape == (2, 3, 4, 5)
    assert torch.allclose(to_contract(back, contract), grey, atol=1e-3)


def test_a_generator_that_takes_neither_colours_nor_grey_is_refused() -> None:
    with pytest.raises(UserError, match="contract says 4"):
        to_contract(torch.zeros(1, 3, 2, 2), InputContract(channels=4))


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
