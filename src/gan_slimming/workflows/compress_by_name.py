"""The command compress: teacher and discriminator by their names, or from the run that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_slimming.config import Run
from gan_slimming.errors import UserError
from gan_slimming.models import load_generator
from gan_slimming.serialization.generator_file import load_generator_file
from gan_slimming.serialization.provenance import fingerprint
from gan_slimming.serialization.resolve import model_file, split_discriminator, split_generator
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.workflows.compress import OnStep, compress


@dataclass(frozen=True)
class Named:
    """What a run is made of, as the user names it; None leaves it to the run that is resumed."""

    generator: str | None = None
    """NAME[:WEIGHTS] or package.module:factory[:WEIGHTS]."""
    weights: Path | None = None
    """The teacher's weights, instead of :WEIGHTS."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the generator's factory."""
    student: Path | None = None
    """A run folder or generator.safetensors to start from, instead of a copy of the teacher."""
    data: Path | None = None
    targets: Path | None = None
    discriminator: str | None = None
    """NAME[:WEIGHTS] or package.module:factory[:WEIGHTS]."""
    protect: Sequence[str] = ()


def compress_by_name(
    named: Named,
    output: Path,
    run: Run,
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Load the teacher by its name and compress it; returns the summary.

    With `resume` the settings come from the run folder, and so does all that is not named.
    """
    folder = RunFolder(output)
    folder.check(resume=resume, overwrite=overwrite)  # before anything slow happens
    record: dict[str, Any] = {}
    if resume:
        run, record = folder.read_config()
        named = _of_run(record, named)
    if named.generator is None:
        raise UserError("name the teacher with --generator")
    name, inline = _split(named.generator)
    if inline and named.weights:
        raise UserError(f"{named.generator} names weights already; leave out {named.weights}")
    weights = Path(inline) if inline else named.weights
    if weights is None and ":" not in name:
        raise UserError(f"{name} without trained weights draws noise; give its file with --weights")
    teacher = load_generator(name, weights, **named.arguments)
    if resume and fingerprint(teacher) != record["generator"]["sha256"]:
        raise UserError(f"{output} was started with another teacher; give the same --weights")
    student = _student(named.student, name, output)
    began = record.get("student") or {"sha256": None}
    if resume and (student and fingerprint(student)) != began["sha256"]:
        raise UserError(f"{output} was started from another student; name that one with --student")
    discriminator, source = _discriminator(named.discriminator, run.seed)
    return compress(
        teacher, named.data, output, run, targets=named.targets, student=student,
        discriminator=discriminator, protect=named.protect, resume=resume, overwrite=overwrite,
        on_step=on_step, weights=weights, student_source=named.student,
        discriminator_source=source,
    ).summary  # fmt: skip


def _of_run(record: Mapping[str, Any], named: Named) -> Named:
    """What a run was started with, as far as the user does not name it."""
    saved = record["generator"]
    if named.generator is None and ":" in saved["name"]:
        raise UserError(
            f"the run's generator is code of your own, and a file alone imports nothing; add "
            f"--generator {saved['name']}"
        )
    played = record.get("discriminator")
    if named.discriminator is None and played and ":" in split_discriminator(played)[0]:
        raise UserError(
            f"the run's discriminator is code of your own, and a file alone imports nothing; add "
            f"--discriminator {played}"
        )
    held = named.generator is not None and _split(named.generator)[1] is not None
    begun = record.get("student") or {}
    known = Path(saved["weights"]) if saved["weights"] and not held else None
    return replace(
        named,
        generator=named.generator or saved["name"],
        weights=named.weights or known,
        arguments=named.arguments or saved["arguments"],
        student=named.student or _path(begun.get("file")),
        data=named.data or _path(record["data"]),
        targets=named.targets or _path(record["targets"]),
        discriminator=named.discriminator or played,
        protect=record["protect"],
    )


def _student(model: Path | None, generator: str, output: Path) -> nn.Module | None:
    """The generator that is trained further; code of the user's own has the teacher's name."""
    if model is None:
        return None
    file = model_file(model)
    if file is None:
        raise UserError(f"no such file or folder: {model}; --student is an earlier run's folder")
    if output.resolve() in file.resolve().parents:
        raise UserError(f"{file} lies in {output}, which this run makes; name another --output")
    return load_generator_file(file, factory=generator if ":" in generator else None)


def _discriminator(text: str | None, seed: int) -> tuple[nn.Module | None, str | None]:
    """The discriminator that is named, and its name with the whole path of its weights."""
    if text is None:
        return None, None
    from gan_slimming.models import load_discriminator

    name, weights = split_discriminator(text)
    path = Path(weights).resolve() if weights else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = load_discriminator(name, path)
    return network, f"{name}:{path}" if path else name


def _split(generator: str) -> tuple[str, str | None]:
    """Name and weights; a name alone is for the registry to know."""
    return split_generator(generator) if ":" in generator else (generator, None)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
