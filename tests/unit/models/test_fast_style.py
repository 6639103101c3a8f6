"""The fast neural style network."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.fast_style import ResidualBlock, TransformerNet, infer_arguments


def published(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """The published network written out."""

    def convolve(values: Tensor, name: str, stride: int = 1, double: bool = False) -> Tensor:
        if double:
            values = values.repeat_interleave(2, 2).repeat_interleave(2, 3)
        weight = state[f"{name}.conv2d.weight"]
        pad = weight.shape[-1] // 2
        values = F.pad(values, (pad, pad, pad, pad), "reflect")
        return F.conv2d(values, weight, state[f"{name}.conv2d.bias"], stride)

    def norm(values: Tensor, name: str) -> Tensor:
        mean, variance = values.mean((2, 3), True), values.var((2, 3), unbiased=False, keepdim=True)
        scale, shift = (state[f"{name}.{f}"].view(-1, 1, 1) for f in ("weight", "bias"))
        return (values - mean) / (variance + 1e-5).sqrt() * scale + shift

    values = norm(convolve(images, "conv1"), "in1").relu()
    values = norm(convolve(values, "conv2", 2), "in2").relu()
    values = norm(convolve(values, "conv3", 2), "in3").relu()
    for block in (f"res{n}" for n in range(1, 6)):
        inner = norm(convolve(values, f"{block}.conv1"), f"{block}.in1").relu()
        values = values + norm(convolve(inner, f"{block}.conv2"), f"{block}.in2")
    values = norm(convolve(values, "deconv1", double=True), "in4").relu()
    values = norm(convolve(values, "deconv2", double=True), "in5").relu()
    return convolve(values, "deconv3")


def test_it_computes_what_the_published_network_computes() -> None:
    generator = TransformerNet(3).eval()
    for name, parameter in generator.named_parameters():
        if "in" in name.split(".")[-2]:
            nn.init.normal_(parameter)
    images = torch.rand(2, 3, 12, 20) * 255
    expected = published(generator.state_dict(), images)
    torch.testing.assert_close(generator(images), expected, atol=1e-4, rtol=1e-4)


def test_names_are_the_published_ones() -> None:
    names = set(TransformerNet(2).state_dict())
    layers = ["conv1", "conv2", "conv3", "deconv1", "deconv2", "deconv3"]
    layers += [f"res{n}.conv{k}" for n in range(1, 6) for k in (1, 2)]
    norms = [f"in{n}" for n in range(1, 6)]
    norms += [f"res{n}.in{k}" for n in range(1, 6) for k in (1, 2)]
    places = [f"{layer}.conv2d" for layer in layers] + norms
    assert names == {f"{place}.{field}" for place in places for field in ("weight", "bias")}


def test_the_contract() -> None:
    contract = TransformerNet.contract
    assert (contract.low, contract.high, contract.colour_order) == (0.0, 255.0, "RGB")
    generator = TransformerNet(2).eval()
    side = contract.min_size
    assert generator(torch.zeros(1, 3, side, side)).shape[-1] == side
    assert generator(torch.zeros(1, 3, 13, 18)).shape == (1, 3, 16, 20)
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        generator(torch.zeros(1, 3, 4, 16))


def test_the_output_is_not_bounded() -> None:
    generator = TransformerNet(2).eval()
    nn.init.constant_(generator.get_parameter("deconv3.conv2d.bias"), 400.0)
    assert generator(torch.zeros(1, 3, 8, 8)).min() > 255


def test_emptied_block_is_the_identity() -> None:
    block = ResidualBlock(4)
    nn.init.zeros_(block.get_parameter("in2.weight"))
    features = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(features), features)


def test_width_is_read_off_the_weights() -> None:
    assert infer_arguments(TransformerNet(3).state_dict()) == {"width": 3}
    assert infer_arguments({"conv1.conv2d.weight": torch.tensor(1.0)}) == {}


def test_an_empty_network_is_refused() -> None:
    with pytest.raises(UserError, match="width must be at least 1, got 0"):
        TransformerNet(0)
