"""Co-evolutionary compression: channel masks that are selected, crossed and mutated.

Shu et al., ICCV 2019 (arXiv 1907.10804). An individual is one bit for each channel that may go. Two
generators of opposite directions evolve in turn, each against the best of the other, with which it
closes the cycle; a generator without a partner evolves without the cycle. Evolution here judges the
teacher's own weights under each mask. The released code also trains every individual for some
epochs, which takes days on eight GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from gan_slimming.errors import UserError

SMALLEST = 1e-9
"""Least distance that a fitness divides by: that of an individual equal to its teacher."""
OnGeneration = Callable[[int, float], None]
"""Called after each generation with its number and the best fitness of the first species."""


@dataclass(frozen=True)
class Evolution:
    """The settings of an evolution; by default those of the authors' released code."""

    population: int = 32
    """Number of individuals."""
    generations: int = 50
    """Number of generations after the first, which is random."""
    selection: float = 0.2
    """Probability that a place in the next generation goes to an individual as it is."""
    crossover: float = 0.7
    """Probability that two individuals swap a stretch of bits. The rest is mutation, which flips
    one."""
    distance_weight: float = 500.0
    """Weight of the inverse distance to the teacher, a sum over the images."""
    cycle_weight: float = 10.0
    """Weight of the cycle's error in that distance."""
    parameter_weight: float = 5.0
    """Weight of the share of parameters that is gone. The authors give 0.001 for each of about
    5,000 channels."""
    images: int = 16
    """Number of images that individuals are judged on."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                value = getattr(self, field.name)
                raise UserError(f"evolve.{field.name} must be 0 or more, got {value}")
        if self.population < 2 or self.images < 1:
            raise UserError("evolve needs a population of at least 2, and at least 1 image")
        if self.selection + self.crossover > 1:
            raise UserError(
                "evolve.selection and evolve.crossover are probabilities of one choice, so they "
                f"must not exceed 1 together; got {self.selection} and {self.crossover}"
            )


class Species(Protocol):
    """One generator whose channels evolve."""

    channels: int
    """Number of bits of an individual."""

    def repaired(self, mask: Tensor, random: torch.Generator) -> Tensor:
        """Return the mask (channels,) bool with what it lacks or exceeds put right."""
        ...

    def parameters_left(self, mask: Tensor) -> float:
        """Return the share of parameters that a mask leaves, in (0, 1]."""
        ...

    def distance(self, mask: Tensor) -> float:
        """Return the distance to the teacher, summed over the images."""
        ...

    def cycle(self, mask: Tensor, partner: Tensor) -> float:
        """Return the error after both directions, the partner under its own mask."""
        ...


def fitness(distance: float, parameters_left: float, settings: Evolution) -> float:
    """Return distance_weight / distance + parameter_weight * (1 - parameters_left)."""
    removed = settings.parameter_weight * (1 - parameters_left)
    return settings.distance_weight / max(distance, SMALLEST) + removed


def evolve(
    species: Sequence[Species],
    settings: Evolution,
    seed: int,
    on_generation: OnGeneration | None = None,
) -> list[Tensor]:
    """Return the best mask (channels,) bool of each species.

    Args:
        species: one generator, or two of opposite directions.
        settings: of the evolution.
        seed: of its random choices.
        on_generation: called after each generation.
    """
    random = torch.Generator().manual_seed(seed)
    populations = [_first(one, settings.population, random) for one in species]
    # In the first generation there is no best partner yet, hence no cycle.
    values = [_judged(one, p, None, settings) for one, p in zip(species, populations, strict=True)]
    best = [p[int(v.argmax())] for p, v in zip(populations, values, strict=True)]
    for generation in range(settings.generations):
        for i, one in enumerate(species):
            populations[i] = next_generation(populations[i], values[i], best[i], settings, random)
            populations[i] = torch.stack([one.repaired(mask, random) for mask in populations[i]])
            partner = best[1 - i] if len(species) == 2 else None
            values[i] = _judged(one, populations[i], partner, settings)
            best[i] = populations[i][int(values[i].argmax())]
        if on_generation is not None:
            on_generation(generation + 1, float(values[0].max()))
    return best


def _first(species: Species, size: int, random: torch.Generator) -> Tensor:
    """Return random individuals, (size, channels) bool, each bit set with probability 1/2."""
    masks = torch.rand(size, species.channels, generator=random) < 0.5
    return torch.stack([species.repaired(mask, random) for mask in masks])


def _judged(
    species: Species, population: Tensor, partner: Tensor | None, settings: Evolution
) -> Tensor:
    """Return the fitness of each individual, (size,)."""
    values = []
    for mask in population:
        distance = species.distance(mask)
        if partner is not None:
            distance += settings.cycle_weight * species.cycle(mask, partner)
        values.append(fitness(distance, species.parameters_left(mask), settings))
    return torch.tensor(values, dtype=torch.float64)


def next_generation(
    population: Tensor,
    values: Tensor,
    best: Tensor,
    settings: Evolution,
    random: torch.Generator,
) -> Tensor:
    """Return as many individuals, the best of the last generation first among them.

    Args:
        population: (size, channels) bool.
        values: (size,) fitness, positive: the roulette's shares.
        best: (channels,) bool.
    """

    def spin() -> Tensor:
        return population[int(torch.multinomial(values, 1, generator=random))].clone()

    found = [best.clone()]
    while len(found) < len(population):
        choice = float(torch.rand(1, generator=random))
        if choice < settings.selection:
            found.append(spin())
        elif choice < settings.selection + settings.crossover:
            one, other = spin(), spin()
            start, end = _stretch(len(best), random)
            one[start:end], other[start:end] = other[start:end].clone(), one[start:end].clone()
            found += [one, other]
        else:
            mutant = spin()
            start, end = _stretch(len(best), random)
            mutant[start:end] = ~mutant[start:end]
            found.append(mutant)
    return torch.stack(found[: len(population)])


def _stretch(length: int, random: torch.Generator) -> tuple[int, int]:
    """Return a random stretch of at least one bit."""
    ends = torch.randint(0, length, (2,), generator=random).sort().values.tolist()
    return ends[0], ends[1] + 1
