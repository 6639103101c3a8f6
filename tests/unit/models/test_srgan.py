"""SRResNet, x4."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.srgan import ResidualBlock, SrganGenerator, UpBlock, infer_arguments


def written_out(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """The usual code's network with five residual blocks, in functions."""

    def convolve(values: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(values, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def norm(values: Tensor, name: str) -> Tensor:
        fields = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (state[f"{name}.{field}"] for field in fields)
        return F.batch_norm(values, mean, variance, scale, shift)

    first = values = F.prelu(convolve(images, "block1.0"), state["block1.1.weight"])
    for block in (f"block{n}" for n in range(2, 7)):
        inner = norm(convolve(values, f"{block}.conv1"), f"{block}.bn1")
        inner = F.prelu(inner, state[f"{block}.prelu.weight"])
        values = values + norm(convolve(inner, f"{block}.conv2"), f"{block}.bn2")
    values = first + norm(convolve(values, "block7.0"), "block7.1")
    for block in ("block8.0", "block8.1"):
        values = F.pixel_shuffle(convolve(values, f"{block}.conv"), 2)
        values = F.prelu(values, state[f"{block}.prelu.weight"])
    return (torch.tanh(convolve(values, "block8.2")) + 1) / 2


def test_it_computes_what_the_usual_code_computes(tiny: Callable[..., Any]) -> None:
    generator, images = tiny("srgan", width=4, blocks=5)
    expected = written_out(generator.state_dict(), images)
    assert expected.shape == (2, 3, 64, 64)
    torch.testing.assert_close(generator(images), expected, atol=1e-5, rtol=1e-5)


def test_the_output_lies_in_range() -> None:
    generator = SrganGenerator(2, 1).eval()
    for parameter in generator.parameters():
        nn.init.normal_(parameter)
    output = generator(torch.rand(1, 3, 5, 7))
    assert output.shape == (1, 3, 20, 28)
    assert 0 <= output.min() < output.max() <= 1
    assert (generator.contract.low, generator.contract.high) == (0.0, 1.0)
    assert generator.contract.scale == 4


@pytest.mark.parametrize("blocks", [5, 16])
def test_arguments_are_read_off_the_weights(blocks: int) -> None:
    state = SrganGenerator(3, blocks).state_dict()
    assert f"block{blocks + 3}.2.weight" in state
    assert infer_arguments(state) == {"width": 3, "blocks": blocks}
    assert infer_arguments({"block1.0.weight": torch.tensor(1.0)}) == {}


def test_emptied_block_is_the_identity() -> None:
    block = ResidualBlock(4).eval()
    nn.init.zeros_(block.get_parameter("bn2.weight"))
    features = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(features), features)


def test_an_up_block_doubles() -> None:
    assert UpBlock(3)(torch.zeros(1, 3, 4, 5)).shape == (1, 3, 8, 10)


def test_an_empty_network_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1, got 64 and 0"):
        SrganGenerator(blocks=0)
