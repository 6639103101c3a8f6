"""Adaptive style transfer: sizes, layout, and the names of the published variables."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.adaptive_style import (
    AdaptiveStyleGenerator,
    ResidualBlock,
    from_published,
    infer_arguments,
)


def to_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names and shapes to those of the TensorFlow variables."""
    variables = {}
    for name, tensor in state.items():
        half, *layer, field = name.split(".")
        if tensor.ndim == 4:
            inner = "conv2d/Conv" if layer[-1].endswith("_dc") else "Conv"
            variable = f"{half}/{'_'.join(layer)}/{inner}/weights"
            variables[variable] = tensor.permute(2, 3, 1, 0)
        else:
            field = {"weight": "scale", "bias": "offset"}[field]
            variables[f"{half}/{'_'.join(layer)}/{field}:0"] = tensor
    return variables


def paper(state: dict[str, Tensor], images: Tensor, blocks: int) -> Tensor:
    """The paper's network written out."""

    def norm(values: Tensor, name: str) -> Tensor:
        return F.instance_norm(values, weight=state[f"{name}.weight"], bias=state[f"{name}.bias"])

    def padded(values: Tensor, by: int) -> Tensor:
        return F.pad(values, (by, by, by, by), "reflect")

    def convolve(values: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(values, state[f"{name}.weight"], None, stride, padding)

    values = padded(norm(images, "encoder.g_e0_bn"), 15)
    for place in range(1, 6):
        stem = f"encoder.g_e{place}"
        values = norm(convolve(values, f"{stem}_c", 1 if place == 1 else 2), f"{stem}_bn").relu()
    for block in range(1, blocks + 1):
        stem = f"decoder.g_r{block}"
        inner = norm(convolve(padded(values, 1), f"{stem}.c1"), f"{stem}.bn1").relu()
        values = values + norm(convolve(padded(inner, 1), f"{stem}.c2"), f"{stem}.bn2")
    for place in range(1, 5):
        stem = f"decoder.g_d{place}"
        values = values.repeat_interleave(2, 2).repeat_interleave(2, 3)
        values = norm(convolve(values, f"{stem}_dc", padding=1), f"{stem}_bn").relu()
    return torch.sigmoid(convolve(padded(values, 3), "decoder.g_pred_c")) * 2 - 1


def randomised(width: int, blocks: int) -> AdaptiveStyleGenerator:
    generator = AdaptiveStyleGenerator(width, blocks).eval()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.3)
    return generator


@pytest.mark.parametrize("size", [(32, 32), (48, 64)])
def test_it_computes_what_the_paper_says(size: tuple[int, int]) -> None:
    generator = randomised(2, 2)
    images = torch.rand(2, 3, *size) * 2 - 1
    expected = paper(generator.state_dict(), images, 2)
    assert expected.shape == images.shape
    assert expected.std() > 0.01
    torch.testing.assert_close(generator(images), expected, atol=1e-5, rtol=0)


def test_layers_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        layers = [m for m in AdaptiveStyleGenerator().modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in layers[:5]] == [32, 32, 64, 128, 256]
    assert [m.stride[0] for m in layers[:5]] == [1, 2, 2, 2, 2]
    assert [m.out_channels for m in layers[5:]] == [256] * 18 + [256, 128, 64, 32, 3]
    assert all(m.bias is None for m in layers)


def test_published_names_round_trip() -> None:
    state = randomised(2, 9).state_dict()
    variables = to_published(state)
    assert {"encoder/g_e0_bn/scale:0", "encoder/g_e1_c/Conv/weights"} <= variables.keys()
    assert {"decoder/g_r9_c2/Conv/weights", "decoder/g_r1_bn1/offset:0"} <= variables.keys()
    assert {"decoder/g_d4_dc/conv2d/Conv/weights", "decoder/g_pred_c/Conv/weights"} <= set(
        variables
    )
    back = from_published(variables)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert list(from_published(state)) == list(state)


def test_sizes() -> None:
    generator, side = randomised(1, 1), AdaptiveStyleGenerator.contract.min_size
    assert generator(torch.zeros(1, 3, side, side)).shape[-1] == side
    with pytest.raises((RuntimeError, ValueError)):
        generator(torch.zeros(1, 3, side - 16, side))


def test_emptied_block_is_the_identity() -> None:
    block = ResidualBlock(4)
    nn.init.zeros_(block.get_parameter("bn2.weight"))
    features = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(features), features)


def test_arguments_are_read_off_the_weights() -> None:
    state = AdaptiveStyleGenerator(3, 2).state_dict()
    assert infer_arguments(state) == {"width": 3, "blocks": 2}
    assert infer_arguments({"other": torch.zeros(1)}) == {}


def test_an_empty_network_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1, got 32 and 0"):
        AdaptiveStyleGenerator(blocks=0)
