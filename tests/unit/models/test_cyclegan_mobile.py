"""The CycleGAN generator with separable convolutions."""

import pytest
import torch
from torch import nn

from gan_slimming.errors import UserError
from gan_slimming.models.cyclegan_mobile import (
    MobileResnetBlock,
    MobileResnetGenerator,
    SeparableConvolution,
    infer_arguments,
    uniform,
)

UNEVEN = [3, 5, 8, 2, 7, 4, 6]
"""Encoder 3, 5, 8; two blocks of 2 and 7 inside; decoder 4, 6."""


def test_layers_stand_at_the_published_positions() -> None:
    names = set(MobileResnetGenerator(2, 9).state_dict())
    layers = [f"model.{n}" for n in (1, 4, 7, 19, 22, 26)]
    layers += [
        f"model.{n}.conv_block.{place}.conv.{part}"
        for n in range(10, 19)
        for place in (1, 6)
        for part in (0, 2)
    ]
    assert names == {f"{layer}.{field}" for layer in layers for field in ("weight", "bias")}


def test_a_separable_convolution_is_depthwise_norm_pointwise() -> None:
    layers = SeparableConvolution(4, 6, affine=False).conv
    shapes = [tuple(m.weight.shape) for m in layers if isinstance(m, nn.Conv2d)]
    assert shapes == [(4, 1, 3, 3), (6, 4, 1, 1)]
    assert isinstance(layers[1], nn.InstanceNorm2d)


def test_every_width_is_its_own() -> None:
    generator = MobileResnetGenerator(3, 2, channels=UNEVEN)
    shapes = {name: tuple(t.shape) for name, t in generator.state_dict().items()}
    assert shapes["model.4.weight"] == (5, 3, 3, 3)
    assert shapes["model.7.weight"] == (8, 5, 3, 3)
    assert shapes["model.10.conv_block.1.conv.2.weight"] == (2, 8, 1, 1)
    assert shapes["model.11.conv_block.6.conv.2.weight"] == (8, 7, 1, 1)
    assert shapes["model.12.weight"] == (8, 4, 3, 3)
    assert shapes["model.15.weight"] == (4, 6, 3, 3)
    assert shapes["model.19.weight"] == (3, 6, 7, 7)
    images = torch.rand(1, 3, 12, 8) * 2 - 1
    output = generator(images)
    assert output.shape == images.shape
    assert output.abs().max() <= 1


@pytest.mark.parametrize("affine", [False, True])
def test_arguments_are_read_off_the_weights(affine: bool) -> None:
    even = MobileResnetGenerator(3, 6, affine).state_dict()
    assert infer_arguments(even) == {"width": 3, "blocks": 6, "affine": affine}
    uneven = MobileResnetGenerator(3, 2, affine, UNEVEN).state_dict()
    expected = {"width": 3, "blocks": 2, "affine": affine, "channels": UNEVEN}
    assert infer_arguments(uneven) == expected


def test_nothing_is_read_off_weights_that_are_not_all_there() -> None:
    state = MobileResnetGenerator(2, 2).state_dict()
    for name in ("model.4.weight", "model.10.conv_block.1.conv.2.weight", "model.15.weight"):
        assert infer_arguments({k: v for k, v in state.items() if k != name}) == {}
    assert infer_arguments(state | {"model.1.weight": torch.tensor(1.0)}) == {}


def test_emptied_block_is_the_identity() -> None:
    block = MobileResnetBlock(4, 3, affine=True)
    nn.init.zeros_(block.get_parameter("conv_block.7.weight"))
    features = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(features), features)


def test_uniform_widths() -> None:
    assert uniform(2, 3) == [2, 4, 8, 8, 8, 8, 4, 2]


@pytest.mark.parametrize("channels", [[3, 5, 8], [4, 5, 8, 2, 7, 4, 6], [3, 5, 0, 2, 7, 4, 6]])
def test_widths_that_do_not_fit_are_refused(channels: list[int]) -> None:
    with pytest.raises(UserError, match=r"channels must be 7 numbers for 2 blocks.*got \["):
        MobileResnetGenerator(3, 2, channels=channels)
