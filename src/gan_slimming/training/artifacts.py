"""The end of a run: the generator's file, its samples, and the figures of both."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from gan_slimming.config import InputContract, Run
from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.dataset import DatasetItems
from gan_slimming.metrics.complexity import count
from gan_slimming.metrics.tracker import Tracker, means
from gan_slimming.models.registry import spec_of
from gan_slimming.pruning.groups import parameters_left
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.serialization.provenance import environment, fingerprint
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.student import Student
from gan_slimming.training.records import record_held_out, write_layers
from gan_slimming.training.setup import FLOAT_BYTES, Setup
from gan_slimming.training.summary import Summary
from gan_slimming.training.target_trainer import TargetTrainer
from gan_slimming.training.trainer import Trainer

SQUARES = "central square, Lanczos"
ITEMS = "as the dataset makes them"
"""How images come to their size."""


def write_artifacts(
    folder: RunFolder,
    setup: Setup,
    final: Student,
    generator: nn.Module,
    tracker: Tracker,
    trainer: Trainer,
    distance: str,
) -> Summary:
    """Write the generator's file and samples; measure what has been written.

    Args:
        final: the trained student, and `generator` what `extract` made of it.
        trainer: after its last step.
        distance: name of the distance that was trained on.
    """
    size_bytes = _save(folder, setup, final, generator, trainer.step)
    adapter = GeneratorAdapter(generator, setup.contract)
    rows = record_held_out(folder, tracker, generator, adapter)
    cost = count(generator, setup.example)
    write_layers(folder, setup.dense, cost)
    run, held = setup.run, tracker.held
    resize = ITEMS if isinstance(held, DatasetItems) else SQUARES
    protocol = protocol_of(setup.contract, run, setup.side, len(held), resize)
    return Summary(
        teacher_macs=setup.dense.macs,
        macs=cost.macs,
        teacher_parameters=setup.dense.parameters,
        parameters=parameters_left(final.graph, final.alive()),
        teacher_size_bytes=setup.dense.parameters * FLOAT_BYTES,
        bits=run.bits,
        weight_bits=run.stored_bits,
        size=setup.side if setup.contract.latent_size else run.size,
        steps=trainer.step,
        seconds=round(trainer.seconds, 1),
        generator=str(folder.generator),
        size_bytes=size_bytes,
        quality=means(rows),
        verdict=tracker.verdict(rows),
        protocol=protocol | {"distance_trained_on": distance},
        report=str(folder.report),
        target=_outcome(trainer, setup.dense.macs),
    )


def _outcome(trainer: Trainer, whole: int) -> dict[str, Any] | None:
    """Return what a run towards a quality has come to; None for one to a budget."""
    return trainer.search.outcome(whole) if isinstance(trainer, TargetTrainer) else None


def protocol_of(
    contract: InputContract, run: Run, side: int, images: int, resize: str = SQUARES
) -> dict[str, Any]:
    """Return how the figures of quality are to be read.

    Args:
        side: height and width in pixels of the generator's output.
        images: held-out inputs.
        resize: how images came to their size.
    """
    # 'pictures' is the key of version 0.1.
    counts = {"images": images, "pictures": images}
    against = {"against": "the teacher's output in float32"}
    if contract.latent_size:
        return {**counts, "size": side, "from": "noise that training never saw", **against}
    return {**counts, "size": run.size, "resize": resize, **against}


def _save(folder: RunFolder, setup: Setup, final: Student, generator: nn.Module, steps: int) -> int:
    """Write generator.safetensors; return its bytes."""
    return save_generator(
        generator,
        folder.generator,
        spec_of(setup.start),
        identities=final.identities,
        channel_map={name: kept.tolist() for name, kept in final.kept.items()},
        provenance={
            "teacher_sha256": fingerprint(setup.teacher.generator),
            "start_sha256": fingerprint(setup.start),
            "seed": setup.run.seed,
            "budget": dataclasses.asdict(setup.run.budget),
            "steps": steps,
            "versions": environment()["versions"],
        },
    )
