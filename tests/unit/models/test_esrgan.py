"""RRDBNet, x4, and its three generations of names."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.models.esrgan import (
    DenseBlock,
    EsrganGenerator,
    from_published,
    infer_arguments,
)


def to_second(name: str) -> str:
    """The names of the authors' own code."""
    for ours, theirs in {
        "conv_body": "trunk_conv", "body.": "RRDB_trunk.", ".rdb": ".RDB", "conv_up": "upconv",
        "conv_hr": "HRconv",
    }.items():  # fmt: skip
        name = name.replace(ours, theirs)
    return name


def to_first(name: str, blocks: int) -> str:
    """The positions of their first release."""
    stem, _, field = name.rpartition(".")
    single = {
        "conv_first": "0",
        "conv_up1": "3",
        "conv_up2": "6",
        "conv_hr": "8",
        "conv_last": "10",
    }
    if stem in single:
        return f"model.{single[stem]}.{field}"
    if stem == "conv_body":
        return f"model.1.sub.{blocks}.{field}"
    return f"{stem.replace('body.', 'model.1.sub.').replace('.rdb', '.RDB')}.0.{field}"


def written_out(state: dict[str, Tensor], images: Tensor, blocks: int) -> Tensor:
    """The network in functions."""

    def convolve(values: Tensor, name: str) -> Tensor:
        return F.conv2d(values, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def dense(values: Tensor, name: str) -> Tensor:
        seen = values
        for place in range(1, 5):
            seen = torch.cat((seen, F.leaky_relu(convolve(seen, f"{name}.conv{place}"), 0.2)), 1)
        return convolve(seen, f"{name}.conv5") * 0.2 + values

    def up(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, 2).repeat_interleave(2, 3)

    first = values = convolve(images, "conv_first")
    for block in range(blocks):
        inner = values
        for place in (1, 2, 3):
            inner = dense(inner, f"body.{block}.rdb{place}")
        values = inner * 0.2 + values
    values = first + convolve(values, "conv_body")
    values = F.leaky_relu(convolve(up(values), "conv_up1"), 0.2)
    values = F.leaky_relu(convolve(up(values), "conv_up2"), 0.2)
    return convolve(F.leaky_relu(convolve(values, "conv_hr"), 0.2), "conv_last")


def test_it_computes_what_the_paper_says() -> None:
    generator = EsrganGenerator(4, 2, 3).eval()
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.2)
    images = torch.rand(2, 3, 6, 9)
    expected = written_out(generator.state_dict(), images, 2)
    assert expected.shape == (2, 3, 24, 36)
    torch.testing.assert_close(generator(images), expected, atol=1e-5, rtol=1e-4)


def test_all_three_generations_of_names_are_understood() -> None:
    state = EsrganGenerator(3, 4, 2).state_dict()
    second = {to_second(name): tensor for name, tensor in state.items()}
    first = {to_first(name, 4): tensor for name, tensor in state.items()}
    assert {"RRDB_trunk.3.RDB1.conv5.bias", "trunk_conv.weight", "HRconv.bias"} <= second.keys()
    assert {"model.1.sub.3.RDB2.conv1.0.weight", "model.1.sub.4.bias"} <= first.keys()
    for published in (first, second, state):
        back = from_published(published)
        assert back.keys() == state.keys()
        assert all(torch.equal(back[name], state[name]) for name in state)


def test_arguments_are_read_off_the_weights() -> None:
    state = EsrganGenerator(3, 4, 2).state_dict()
    assert infer_arguments(state) == {"width": 3, "blocks": 4, "growth": 2}
    assert infer_arguments({"conv_first.weight": torch.tensor(1.0)}) == {}


def test_contract() -> None:
    contract = EsrganGenerator.contract
    assert (contract.low, contract.high, contract.scale) == (0.0, 1.0, 4)


def test_blocks_begin_as_multiples_of_the_identity() -> None:
    block, features = DenseBlock(8, 4), torch.randn(1, 8, 6, 6)
    nn.init.zeros_(block.get_parameter("conv5.weight"))
    nn.init.zeros_(block.get_parameter("conv5.bias"))
    assert torch.equal(block(features), features)
    fresh = EsrganGenerator(8, 1, 4).body
    change = fresh(features) - 1.2 * features  # the sum of a block holds its input a second time
    assert change.std() < 0.01 * features.std()


def test_an_empty_network_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1, got 64, 23 and 0"):
        EsrganGenerator(growth=0)
