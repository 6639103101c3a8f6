"""Co-evolution of masks, on species whose best mask is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from gan_slimming.errors import UserError
from gan_slimming.experiments.cec import Evolution, evolve, fitness, next_generation

SMALL = Evolution(population=24, generations=40, parameter_weight=0.0)


@dataclass
class Known:
    """A species near its teacher where its first half is alive and its second dead."""

    channels: int = 12
    cycles: int = 0

    def repaired(self, mask: Tensor, random: torch.Generator) -> Tensor:
        return mask

    def parameters_left(self, mask: Tensor) -> float:
        return float(mask.float().mean())

    def distance(self, mask: Tensor) -> float:
        wanted = torch.arange(self.channels) < self.channels // 2
        return 1 + int((mask != wanted).sum())

    def cycle(self, mask: Tensor, partner: Tensor) -> float:
        self.cycles += 1
        return float((mask != partner).float().mean())


def test_evolution_finds_the_best_mask() -> None:
    species = Known()
    (found,) = evolve([species], SMALL, seed=0)
    assert species.distance(found) <= 3  # of 1 to 13; a random mask has 7 on average
    assert species.cycles == 0


def test_the_same_seed_gives_the_same_mask() -> None:
    runs = [evolve([Known()], replace(SMALL, generations=3), seed=s)[0] for s in (1, 1)]
    assert torch.equal(*runs)


def test_the_best_never_gets_worse() -> None:
    seen: list[float] = []
    evolve([Known()], SMALL, seed=2, on_generation=lambda _, best: seen.append(best))
    assert len(seen) == SMALL.generations
    assert seen == sorted(seen)


def test_two_species_close_the_cycle_with_the_best_of_the_other() -> None:
    pair = [Known(), Known()]
    masks = evolve(pair, replace(SMALL, generations=5), seed=0)
    assert len(masks) == 2
    assert [one.cycles for one in pair] == [5 * SMALL.population] * 2


def test_fitness_rises_with_nearness_and_with_parameters_removed() -> None:
    settings = Evolution()
    assert fitness(2.0, 0.5, settings) == 500 / 2 + 5 * 0.5
    assert fitness(1.0, 0.5, settings) > fitness(2.0, 0.5, settings)
    assert fitness(2.0, 0.1, settings) > fitness(2.0, 0.5, settings)
    assert fitness(0.0, 1.0, settings) < float("inf")


def test_mutation_flips_one_stretch_and_crossover_keeps_bits_in_their_place() -> None:
    random = torch.Generator().manual_seed(0)
    zeros = torch.zeros(4, 9, dtype=torch.bool)
    only_mutation = Evolution(selection=0.0, crossover=0.0)
    mutants = next_generation(zeros, torch.ones(4), zeros[0], only_mutation, random)
    for mutant in mutants[1:].int():
        assert mutant.sum() > 0
        assert int((mutant.diff().abs()).sum()) <= 2
    columns = torch.tensor([[True, False] * 4, [True, False] * 4])
    only_crossover = Evolution(selection=0.0, crossover=1.0)
    crossed = next_generation(columns, torch.ones(2), columns[0], only_crossover, random)
    assert torch.equal(crossed, columns)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"population": 1}, "a population of at least 2"),
        ({"selection": 0.6}, "must not exceed 1 together"),
        ({"generations": -1}, "evolve.generations must be 0 or more, got -1"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, float], text: str) -> None:
    with pytest.raises(UserError, match=text):
        Evolution(**wrong)  # pyright: ignore[reportArgumentType]
