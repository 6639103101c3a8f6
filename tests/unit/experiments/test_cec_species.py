"""A generator as a species: masks are gates, and budgets hold."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.experiments.cec import Evolution, evolve
from gan_slimming.experiments.cec_species import GeneratorSpecies, discriminator_aware
from gan_slimming.models import PatchDiscriminator
from gan_slimming.models.registry import build_generator, spec_of
from gan_slimming.pruning.groups import macs_left
from gan_slimming.student.student import prepare
from gan_slimming.student.surgery import cut, extract

SIDE = 32


def species_of(share: float | None, seed: int = 0) -> GeneratorSpecies:
    torch.manual_seed(seed)
    teacher = build_generator("cyclegan", width=4, blocks=2).eval()
    student = prepare(teacher, (torch.zeros(1, 3, SIDE, SIDE),), bits=None)

    def measure(alive: object) -> float:
        return float(macs_left(student.graph, alive))  # pyright: ignore[reportArgumentType]

    limit = None if share is None else (measure, share * measure({}))
    adapter = GeneratorAdapter(teacher, spec_of(teacher).contract)
    inputs = [(torch.rand(1, 3, SIDE, SIDE) * 2 - 1,) for _ in range(2)]
    return GeneratorSpecies(
        student, adapter, inputs, discriminator_aware(PatchDiscriminator(4, 2)), limit
    )


def test_all_channels_are_the_teacher() -> None:
    species = species_of(None)
    everything = torch.ones(species.channels, dtype=torch.bool)
    assert species.distance(everything) < 1e-9
    assert species.parameters_left(everything) == 1
    halved = species.repaired(torch.arange(species.channels) % 2 == 0, torch.Generator())
    assert species.distance(halved) > species.distance(everything)
    assert species.parameters_left(halved) < 0.5


@pytest.mark.parametrize("start", ["all", "none"])
def test_a_repaired_mask_keeps_every_group_and_the_budget(start: str) -> None:
    species = species_of(0.2)
    assert species.limit is not None
    for seed in range(5):
        mask = torch.full((species.channels,), start == "all")
        mask = species.repaired(mask, torch.Generator().manual_seed(seed))
        assert all(bool(part.any()) for part in species.masks(mask).values())
        assert species.limit[0](species.masks(mask)) <= species.limit[1]


@torch.no_grad()
def test_the_mask_found_is_the_generator_cut() -> None:
    species = species_of(0.3)
    (found,) = evolve([species], Evolution(population=4, generations=2), seed=0)
    images = species.generate(found, species.inputs)
    cut(species.student, species.masks(found))
    small = extract(species.student)
    for image, (batch,) in zip(images, species.inputs, strict=True):
        made: Tensor = small(batch).clamp(-1, 1)
        assert torch.allclose(made, image, atol=1e-4)


def test_two_directions_close_the_cycle() -> None:
    one, other = species_of(None), species_of(None, seed=1)
    one.partner, other.partner = other, one
    masks = evolve([one, other], Evolution(population=3, generations=1), seed=0)
    assert one.cycle(masks[0], masks[1]) > 0
