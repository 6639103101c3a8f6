"""What every registered network costs at its usual size, counted in three ways."""

from dataclasses import dataclass

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gan_slimming.metrics.complexity import count
from gan_slimming.models import build_discriminator, build_generator, registered, spec_of


@dataclass
class Golden:
    shape: tuple[int, ...]
    """Of one input."""
    parameters: int
    macs: int
    """True multiply-accumulates."""
    published: tuple[float, float] | None = None
    """Millions of parameters that the literature gives, and how far its rounding reaches."""


GOLDEN = {
    "adaptive-style": Golden((3, 256, 256), 12_006_790, 7_758_002_688),
    "cartoongan": Golden((3, 256, 256), 11_129_667, 54_383_345_664),
    "cyclegan": Golden((3, 256, 256), 11_378_179, 49_551_507_456, (11.378, 0.0005)),
    "cyclegan-6": Golden((3, 256, 256), 7_837_699, 35_055_992_832, (7.838, 0.0005)),
    "cyclegan-mobile": Golden((3, 256, 256), 1_987_075, 11_066_671_104),
    "dcgan": Golden((100,), 3_576_704, 104_628_224, (3.5767, 0.00005)),
    "esrgan": Golden((3, 64, 64), 16_697_987, 73_428_369_408, (16.70, 0.005)),
    "fast-style": Golden((3, 256, 256), 1_679_235, 10_078_912_512, (1.68, 0.005)),
    "sngan": Golden((128,), 4_276_739, 1_681_129_472, (4.28, 0.005)),
    "srgan": Golden((3, 64, 64), 1_549_462, 9_085_648_896, (1.5, 0.05)),
    "unet-128": Golden((3, 128, 128), 41_828_995, 1_505_755_136, (41.829, 0.0005)),
    "unet-256": Golden((3, 256, 256), 54_413_955, 6_048_186_368, (54.414, 0.0005)),
}
DISCRIMINATORS = {
    "patchgan": Golden((3, 256, 256), 2_764_737, 3_146_809_344, (2.765, 0.0005)),
    "sngan": Golden((3, 32, 32), 1_053_824, 268_927_104, (1.05, 0.005)),
}


def test_every_generator_has_its_numbers() -> None:
    assert sorted(GOLDEN) == registered()


@pytest.mark.parametrize("name", GOLDEN)
def test_costs_of_generators(name: str) -> None:
    golden = GOLDEN[name]
    with torch.device("meta"):
        generator = build_generator(name).eval()
        example = torch.empty(1, *golden.shape)
        with FlopCounterMode(display=False) as counter:
            output = generator(example)
        cost = count(generator, (example,))
    assert cost.parameters == golden.parameters
    assert cost.macs == golden.macs
    assert counter.get_total_flops() == 2 * golden.macs
    if golden.published is not None:
        millions, rounding = golden.published
        assert cost.parameters / 1e6 == pytest.approx(millions, abs=rounding)
    contract = spec_of(generator).contract
    if contract.latent_size:
        assert golden.shape == (contract.latent_size,)
        assert output.shape[:2] == (1, 3)
    else:
        assert output.shape[2:] == tuple(contract.scale * side for side in golden.shape[1:])


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_costs_of_discriminators(name: str) -> None:
    golden = DISCRIMINATORS[name]
    discriminator = build_discriminator(name).eval().to("meta")
    with FlopCounterMode(display=False) as counter:
        discriminator(torch.empty(1, *golden.shape, device="meta"))
    assert sum(p.numel() for p in discriminator.parameters()) == golden.parameters
    assert counter.get_total_flops() == 2 * golden.macs


def test_the_independent_count_is_right_for_transposed_convolutions() -> None:
    """Every input pixel meets every weight once, whatever the stride: 5 * 7 * (2 * 3 * 4 * 4)."""
    layer = torch.nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1, bias=False)
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, 2, 5, 7))
    assert counter.get_total_flops() == 2 * 5 * 7 * 2 * 3 * 4 * 4
