"""The border to a generator, its dummy inputs, and the side of its output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from gan_slimming.config import ExtraInput, InputContract
from gan_slimming.data.adapter import (
    GeneratorAdapter,
    dummy_inputs,
    from_contract,
    output_side,
    to_contract,
    to_inputs,
)
from gan_slimming.data.dummy import dummy_arrays, input_shapes
from gan_slimming.errors import UserError

CONTRACT = InputContract(colour_order="BGR", low=0, high=255)
NOISE = InputContract(latent_size=5)
CLASSES = InputContract(latent_size=5, classes=3)
SIGNAL = InputContract(channels=6, scale=16, signal=True)


class Maker(nn.Module):
    """Anything to images of `shape`; its parameter counts calls in training mode."""

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


def test_the_border_shows_a_generator_its_own_convention() -> None:
    shown: list[Tensor] = []

    class Keeps(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            shown.append(values)
            return values

    image = torch.rand(1, 3, 4, 4) * 2 - 1
    torch.testing.assert_close(GeneratorAdapter(Keeps(), CONTRACT)(image), image)
    torch.testing.assert_close(shown[0], (image.flip(1) + 1) * 127.5)


def test_images_change_to_the_generators_convention_and_noise_does_not() -> None:
    image = torch.rand(1, 3, 4, 4) * 2 - 1
    contract = InputContract(low=0, colour_order="BGR")
    torch.testing.assert_close(to_inputs((image,), contract), ((image.flip(1) + 1) / 2,))
    batch = (torch.rand(2, 5), torch.tensor([1, 2]))
    assert all(torch.equal(a, b) for a, b in zip(to_inputs(batch, CLASSES), batch, strict=True))
    (spread,) = to_inputs(batch[:1], InputContract(latent_size=5, latent_dims=4))
    assert torch.equal(spread, batch[0][:, :, None, None])


class Several(nn.Module):
    def forward(self, noise: Tensor) -> list[Tensor]:
        return [torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 4, 4)]


def test_dummy_inputs_have_the_right_kinds() -> None:
    double = nn.Linear(1, 1).double()
    assert [x.shape for x in dummy_inputs(InputContract(), 8)] == [(1, 3, 8, 8)]
    assert [x.shape for x in dummy_inputs(NOISE, 8)] == [(1, 5)]
    latents, label = dummy_inputs(CLASSES, 8, like=double)
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
        (Maker(1, 3, 8, 9), NOISE, "square images"),
        (Maker(1, 3), NOISE, "square images"),
        (Several(), NOISE, "makes 2 outputs; name a factory whose module returns the image"),
        (Maker(scale=2), InputContract(), "makes 16x16 of 8x8.*scale=1; set scale to 2"),
        (nn.Linear(6, 1), NOISE, r"does not take \(1, 5\), which its InputContract .*says"),
        (nn.Linear(6, 1), InputContract(), r"such as InputContract\(latent_size=100\) for noise"),
        (
            nn.Bilinear(8, 8, 1),
            InputContract(),
            r"takes input1, input2: .*\(ExtraInput\('mask', 19",
        ),
        (Maker(1, 1, 60), SIGNAL, "makes 60 samples of 8 frames, .*scale=16; set scale to 7.5"),
        (Maker(1, 1, 8, 16), SIGNAL, r"of a signal it must make a waveform"),
        (nn.Conv2d(3, 3, 1), CLASSES, r"does not take \(1, 5\) and \(1,\)"),
    ],
)
def test_a_generator_unlike_its_contract_is_told(
    maker: nn.Module, contract: InputContract, text: str
) -> None:
    with pytest.raises(UserError, match=text):
        output_side(maker, contract, 8)


def test_dummy_inputs_are_images_in_range_and_the_same_every_time() -> None:
    (image,) = dummy_inputs(InputContract(channels=1, low=0, high=255), (20, 12), batch=2)
    assert image.shape == (2, 1, 20, 12)
    assert 0 <= float(image.min()) < 60
    assert 195 < float(image.max()) <= 255
    assert torch.equal(
        image, dummy_inputs(InputContract(channels=1, low=0, high=255), (20, 12), batch=2)[0]
    )
    assert input_shapes(CLASSES, 8, batch=3) == {"z": (3, 5), "y": (3,)}
    assert dummy_arrays(NOISE, 8)[0].std() > 0.3


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
    with pytest.raises(
        UserError, match="contract says 4; give its inputs by --dataset, or wrap it"
    ):
        to_contract(torch.zeros(1, 3, 2, 2), InputContract(channels=4))


def test_signals_pass_the_border_as_they_are() -> None:
    assert input_shapes(SIGNAL, 8, 2) == {"input": (2, 6, 8)}
    assert input_shapes(SIGNAL, (1, 9)) == {"input": (1, 6, 9)}
    spoken = replace(SIGNAL, extras=(ExtraInput("class", 3),))
    assert [x.shape for x in dummy_inputs(spoken, 8)] == [(1, 6, 8), (1,)]
    mel, waveform = 5 * torch.randn(2, 6, 8), torch.randn(3, 1, 128)
    given = to_inputs((mel,), SIGNAL)
    assert torch.equal(given[0], mel)
    assert torch.equal(from_contract(waveform, SIGNAL), waveform)
    assert to_inputs((mel,), spoken)[1].tolist() == [0, 0]
    assert output_side(Maker(1, 1, 128), SIGNAL, 8) == 128
