"""Stages that train nothing: a narrow net, quantisation of a finished one, evolved channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gan_slimming.config import Budget
from gan_slimming.data.adapter import to_inputs
from gan_slimming.data.inputs import Inputs, InputSet
from gan_slimming.data.sampler import Sampler
from gan_slimming.experiments.cec import Evolution, OnGeneration, evolve
from gan_slimming.experiments.cec_species import GeneratorSpecies, Judge
from gan_slimming.experiments.methods import Narrow
from gan_slimming.models.registry import rebuild_generator, spec_of
from gan_slimming.pruning.proximal import Measure, uniform_widths
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.serialization.provenance import fingerprint
from gan_slimming.student.student import Student, calibrate
from gan_slimming.student.surgery import cut, extract
from gan_slimming.training.budget import MARGIN, bytes_left, measure_of
from gan_slimming.training.setup import Setup

CALIBRATION = 4
"""Inputs that activation ranges are calibrated on, as many as in training."""


@dataclass(frozen=True)
class Partner:
    """The generator of the opposite direction."""

    setup: Setup
    inputs: InputSet
    judge: Judge


def fresh(teacher: nn.Module, seed: int) -> nn.Module:
    """Return the teacher's architecture with fresh weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return rebuild_generator(spec_of(teacher)).float().eval()


def narrow(setup: Setup, settings: Narrow) -> Student:
    """Return a uniformly narrow student.

    Args:
        setup: of a generator with fresh weights; its run's budget is met.
        settings: the share of channels in place of the budget.
    """
    student = setup.student
    groups = student.graph.prunable
    if settings.channels is not None:
        widths = {g.name: max(1, math.ceil(settings.channels * g.channels)) for g in groups}
    else:
        measure, limit = limit_of(student, setup.run.budget, setup.run.stored_bits)
        widths = uniform_widths(student.graph, measure, limit)
    cut(student, {g.name: torch.arange(g.channels) < widths[g.name] for g in groups})
    return student


def quantize(setup: Setup, inputs: InputSet) -> Student:
    """Return the student with quantisers calibrated on training inputs, and not one step taken."""
    student = setup.student
    calibrate(student, _drawn(setup, inputs, CALIBRATION, setup.run.seed + 4, adapted=True))
    with torch.no_grad():
        for quantizer, weight in student.quantized_weights():
            quantizer.update(weight)
    return student.eval()


def evolved(
    setup: Setup,
    inputs: InputSet,
    settings: Evolution,
    judge: Judge,
    partner: Partner | None = None,
    on_generation: OnGeneration | None = None,
) -> Student:
    """Return the student with the best channels that co-evolution found, within the budget."""
    species = [_species(setup, inputs, settings, judge)]
    if partner is not None:
        species.append(_species(partner.setup, partner.inputs, settings, partner.judge))
        species[0].partner, species[1].partner = species[1], species[0]
    best = evolve(species, settings, setup.run.seed, on_generation)[0]
    student = setup.student
    set_to_one(student)
    cut(student, species[0].masks(best))
    return student


def _species(setup: Setup, inputs: InputSet, settings: Evolution, judge: Judge) -> GeneratorSpecies:
    run = setup.run
    limit = limit_of(setup.student, run.budget, run.stored_bits) if run.budget.kind else None
    drawn = list(_drawn(setup, inputs, settings.images, run.seed + 3))
    return GeneratorSpecies(setup.student, setup.teacher, drawn, judge, limit)


@torch.no_grad()
def set_to_one(student: Student) -> None:
    """Set all gates to one: weights are the teacher's again."""
    for gate in student.gates:
        gate.fill_(1.0)


def limit_of(student: Student, budget: Budget, bits: int | None) -> tuple[Measure, float]:
    """Return how a budget is measured, and its amount with the margin of training's controller."""
    kind = budget.kind or "macs"
    measure = measure_of(kind, student.graph, bits)
    whole = measure({}) if kind != "bytes" else float(bytes_left(student.graph, {}, None))
    return measure, (1 - MARGIN) * budget.amount(whole)


def save_start(setup: Setup, student: Student, path: Path, teacher: nn.Module) -> nn.Module:
    """Write the generator that a stage made, and return it."""
    generator = extract(student)
    save_generator(
        generator,
        path,
        spec_of(setup.start),
        identities=student.identities,
        channel_map={name: kept.tolist() for name, kept in student.kept.items()},
        provenance={"teacher_sha256": fingerprint(teacher), "seed": setup.run.seed},
    )
    return generator


def _drawn(
    setup: Setup, inputs: InputSet, count: int, seed: int, *, adapted: bool = False
) -> list[Inputs]:
    """Return batches of one training input, in the package's form or in the generator's."""
    sampler = Sampler(len(inputs), 1, seed)
    device = setup.fabric.device
    batches = [inputs.batch(*sampler.next(inputs.augmentations())) for _ in range(count)]
    placed = [tuple(x.to(device) for x in batch) for batch in batches]
    return [to_inputs(batch, setup.contract) for batch in placed] if adapted else placed
