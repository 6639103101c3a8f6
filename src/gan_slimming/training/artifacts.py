"""The end of a run: the artifact, its samples, and what both cost and are worth."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.config import Run, bits_of_weights
from gan_slimming.data.inputs import Fed, Generate
from gan_slimming.metrics.complexity import Complexity, count
from gan_slimming.metrics.tracker import Tracker
from gan_slimming.models.registry import spec_of
from gan_slimming.pruning.groups import macs_left
from gan_slimming.serialization.generator_file import save_generator
from gan_slimming.student.student import Student
from gan_slimming.training.budget import parameters_left
from gan_slimming.training.run_folder import environment, fingerprint

FLOAT_BYTES = 4
SAMPLES = 6


def beyond_weights(start: nn.Module, student: Student, example: Fed) -> int:
    """Multiply-accumulates that no weight's element accounts for, such as attention's products."""
    return max(0, count(start, example).macs - macs_left(student.graph, {}))


def cost(
    run: Run, dense: Complexity, final: Student, generator: nn.Module, example: Fed
) -> dict[str, Any]:
    """Work and size of teacher (`dense`) and student, for inputs like `example`."""
    return {
        "teacher_macs": dense.macs,
        "macs": count(generator, example).macs,
        "teacher_parameters": dense.parameters,
        "parameters": parameters_left(final.graph, final.alive()),
        "teacher_size_bytes": dense.parameters * FLOAT_BYTES,
        "bits": run.bits,
        "weight_bits": run.bits and bits_of_weights(run.bits, run.weight_bits),
    }


def deliver(
    folder: Path,
    run: Run,
    parents: tuple[nn.Module, nn.Module],
    final: Student,
    tracker: Tracker,
    generator: nn.Module,
    generate: Generate,
) -> dict[str, Any]:
    """Write the artifact and the samples; measure what has been written.

    Args:
        parents: the teacher, and the generator that the student began as: mostly the same.
        generator: the extracted student, `generate` the same behind its border.
    """
    path = folder / "generator.safetensors"
    teacher, start = parents
    provenance = {
        "teacher_sha256": fingerprint(teacher),
        "start_sha256": fingerprint(start),
        "seed": run.seed,
        "budget": dataclasses.asdict(run.budget),
        "steps": run.optimisation.steps,
        "versions": environment()["versions"],
    }
    size = save_generator(
        generator,
        path,
        spec_of(start),
        identities=final.identities,
        channel_map={name: kept.tolist() for name, kept in final.kept.items()},
        provenance=provenance,
    )
    tracker.write_samples(generate, folder / "samples", SAMPLES)
    return {"generator": str(path), "size_bytes": size, **tracker(generate)}


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """summary.json, which says that the run is finished."""
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
