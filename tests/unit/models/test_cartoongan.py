"""The CartoonGAN generator: sizes, cost, layout, and the names of its published weights."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gan_slimming.errors import UserError
from gan_slimming.models.cartoongan import (
    CONTRACT,
    CartoonGenerator,
    ResidualBlock,
    from_released,
    infer_arguments,
)

PARAMETERS = 11_129_667
"""Of the released network; also the sum over its 94 published tensors."""
MACS_256 = 54_383_345_664
"""True multiply-accumulates at 256x256, by hand: two 7x7 convolutions of 616,562,688, two
stride-2 and two transposed convolutions of 1,207,959,552, and twenty of 2,415,919,104."""


def to_released(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our names to the released ones."""
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("blocks."):
            _, block, _, layer, field = name.split(".")
            kind, position = layer.split("_")
            name = f"{kind}{int(block) + 4:02d}_{position}.{field}"
        if name.startswith("in"):
            name = name.replace("weight", "scale").replace("bias", "shift")
        renamed[name] = tensor
    return renamed


def test_parameter_count_is_the_published_one() -> None:
    with torch.device("meta"):
        generator = CartoonGenerator()
    assert sum(p.numel() for p in generator.parameters()) == PARAMETERS
    assert len(to_released(generator.state_dict())) == 94


def test_true_macs() -> None:
    with torch.device("meta"):
        generator = CartoonGenerator()
        with FlopCounterMode(display=False) as counter:
            generator(torch.empty(1, 3, 256, 256))
    assert counter.get_total_flops() == 2 * MACS_256


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (16, 8)])
def test_output_has_the_size_of_the_input_and_lies_in_range(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size) * 2 - 1
    output = CartoonGenerator(width=4, blocks=2)(images)
    assert output.shape == images.shape
    assert output.abs().max() <= 1


def test_other_sizes_are_rounded_up_to_a_multiple_of_four() -> None:
    output = CartoonGenerator(width=2, blocks=1)(torch.zeros(1, 3, 13, 18))
    assert output.shape == (1, 3, 16, 20)


def test_minimum_size_is_the_smallest_that_works() -> None:
    generator, smaller = CartoonGenerator(width=2, blocks=1), CONTRACT.min_size - 4
    assert generator(torch.zeros(1, 3, CONTRACT.min_size, CONTRACT.min_size)).shape[-1] == 8
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        generator(torch.zeros(1, 3, smaller, 16))


def test_contract_is_that_of_the_released_network() -> None:
    assert CONTRACT.colour_order == "BGR"
    assert (CONTRACT.low, CONTRACT.high, CONTRACT.multiple_of) == (-1.0, 1.0, 4)


def test_norms_are_affine_without_running_statistics() -> None:
    norms = [m for m in CartoonGenerator(2).modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 5 + 16
    assert all(n.affine and not n.track_running_stats and n.eps == 1e-9 for n in norms)


def test_emptied_block_is_the_identity() -> None:
    block = ResidualBlock(4)
    nn.init.zeros_(block.get_parameter("branch.in_2.weight"))
    features = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(features), features)


def test_every_parameter_gets_a_gradient() -> None:
    generator = CartoonGenerator(width=2, blocks=1)
    generator(torch.randn(1, 3, 16, 16)).square().sum().backward()
    assert [n for n, p in generator.named_parameters() if p.grad is None] == []


def test_released_names_round_trip() -> None:
    state = CartoonGenerator(width=2).state_dict()
    released = to_released(state)
    assert "conv04_1.weight" in released
    assert "conv11_2.bias" in released
    assert "in13_1.scale" in released
    back = from_released(released)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_names_of_ours_are_left_alone() -> None:
    state = CartoonGenerator(width=2, blocks=3).state_dict()
    assert list(from_released(state)) == list(state)


def test_scales_of_four_dimensions_are_flattened() -> None:
    scale = torch.arange(3.0)
    state = from_released({"in12_1.scale": scale.view(1, 3, 1, 1), "in04_2.shift": scale})
    assert state.keys() == {"in12_1.weight", "blocks.0.branch.in_2.bias"}
    assert torch.equal(state["in12_1.weight"], scale)


def test_arguments_are_read_off_the_weights() -> None:
    state = to_released(CartoonGenerator(width=3).state_dict())
    assert infer_arguments(from_released(state)) == {"width": 3, "blocks": 8}
    assert infer_arguments(CartoonGenerator(5, 2).state_dict()) == {"width": 5, "blocks": 2}
    assert infer_arguments({"conv01_1.weight": torch.tensor(1.0)}) == {}


@pytest.mark.parametrize("arguments", [{"width": 0}, {"blocks": 0}])
def test_an_empty_network_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(UserError, match="at least 1"):
        CartoonGenerator(**arguments)
