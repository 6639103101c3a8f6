"""The CycleGAN generator: sizes, cost, layout, and the names of the official checkpoints."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gan_slimming.errors import UserError
from gan_slimming.models import load_generator
from gan_slimming.models.cyclegan import (
    CONTRACT,
    ResnetBlock,
    ResnetGenerator,
    from_official,
    infer_arguments,
)

MACS_256 = 49_551_507_456
"""True multiply-accumulates of the 9-block network at 256x256: 49.55 G."""


def with_dropout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of the same network trained with dropout: behind place 4, one further."""
    renamed = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if "conv_block" in parts and int(parts[3]) >= 4:
            parts[3] = str(int(parts[3]) + 1)
        renamed[".".join(parts)] = tensor
    return renamed


@pytest.mark.parametrize(
    ("blocks", "affine", "count"),
    [
        (9, False, 11_378_179),  # by hand, and the 11.378 M that the official code prints
        (6, False, 7_837_699),  # three blocks of two 3x3 convolutions, 590,080 each, fewer
        (9, True, 11_378_179 + 2 * (2 * 64 + 2 * 128 + 19 * 256)),
    ],
)
def test_parameter_count(blocks: int, affine: bool, count: int) -> None:
    with torch.device("meta"):
        generator = ResnetGenerator(blocks=blocks, affine=affine)
    assert sum(p.numel() for p in generator.parameters()) == count


def test_true_macs() -> None:
    with torch.device("meta"):
        generator = ResnetGenerator()
        with FlopCounterMode(display=False) as counter:
            generator(torch.empty(1, 3, 256, 256))
    assert counter.get_total_flops() == 2 * MACS_256


def test_true_macs_agree_with_a_count_by_hooks() -> None:
    """The definition itself: output positions times weights; transposed, input positions."""
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        positions = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        total += module.get_parameter("weight").numel() * positions[0, 0].numel()

    with torch.device("meta"):
        generator = ResnetGenerator()
        for module in generator.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_hook(count)
        generator(torch.empty(1, 3, 256, 256))
    assert total == MACS_256


@pytest.mark.parametrize(("blocks", "last"), [(9, 26), (6, 23)])
def test_layers_stand_at_the_official_positions(blocks: int, last: int) -> None:
    names = set(ResnetGenerator(2, blocks).state_dict())
    trunk = range(10, 10 + blocks)
    layers = [f"model.{n}" for n in (1, 4, 7, last - 7, last - 4, last)]
    layers += [f"model.{n}.conv_block.{place}" for n in trunk for place in (1, 5)]
    assert names == {f"{layer}.{field}" for layer in layers for field in ("weight", "bias")}


@pytest.mark.parametrize("size", [(8, 8), (12, 20)])
def test_output_has_the_size_of_the_input_and_lies_in_range(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size) * 2 - 1
    output = ResnetGenerator(width=4, blocks=2)(images)
    assert output.shape == images.shape
    assert output.abs().max() <= 1


def test_minimum_size_is_the_smallest_that_works() -> None:
    generator, smaller = ResnetGenerator(width=2, blocks=1), CONTRACT.min_size - 4
    assert generator(torch.zeros(1, 3, CONTRACT.min_size, CONTRACT.min_size)).shape[-1] == 8
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        generator(torch.zeros(1, 3, smaller, 16))


def test_contract_is_rgb_in_minus_one_to_one() -> None:
    assert CONTRACT.colour_order == "RGB"
    assert (CONTRACT.low, CONTRACT.high, CONTRACT.multiple_of) == (-1.0, 1.0, 4)


def test_emptied_block_is_the_identity() -> None:
    block = ResnetBlock(4, affine=True)
    nn.init.zeros_(block.get_parameter("conv_block.6.weight"))
    features = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(features), features)


def test_fresh_weights_follow_the_paper() -> None:
    torch.manual_seed(0)
    generator = ResnetGenerator(width=16, blocks=1)
    kernel = generator.get_parameter("model.10.conv_block.1.weight")
    assert kernel.std().item() == pytest.approx(0.02, rel=0.02)
    assert generator.get_parameter("model.1.bias").abs().max() == 0


@pytest.mark.parametrize("affine", [False, True])
def test_checkpoints_trained_with_dropout_are_renumbered(affine: bool) -> None:
    state = ResnetGenerator(2, 2, affine).state_dict()
    official = with_dropout(state)
    assert "model.10.conv_block.6.weight" in official
    back = from_official(official)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("affine", [False, True])
def test_checkpoints_without_dropout_are_left_alone(affine: bool) -> None:
    state = ResnetGenerator(2, 2, affine).state_dict()
    assert list(from_official(state)) == list(state)


@pytest.mark.parametrize("affine", [False, True])
def test_arguments_are_read_off_the_weights(affine: bool) -> None:
    state = ResnetGenerator(3, 6, affine).state_dict()
    found = {"width": 3, "blocks": 6, "affine": affine, "norm": "instance"}
    assert infer_arguments(state) == found
    assert infer_arguments({"other": torch.zeros(1)}) == {}


def test_an_empty_network_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1, got 64 and 0"):
        ResnetGenerator(blocks=0)


def test_batch_norm_is_found_in_the_weights(tmp_path: Path) -> None:
    """As pix2pix's script saves its ResNet by default; convolutions then have no biases."""
    torch.manual_seed(0)
    network = ResnetGenerator(2, 2, norm="batch")
    assert "model.1.bias" not in network.state_dict()
    assert "model.19.bias" in network.state_dict()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
    torch.save(with_dropout(network.state_dict()), tmp_path / "w.pth")
    loaded = load_generator("cyclegan", tmp_path / "w.pth")
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(loaded(images), network.eval()(images))
    with pytest.raises(UserError, match="norm must be one of instance, batch, got layer"):
        ResnetGenerator(2, 2, norm="layer")
