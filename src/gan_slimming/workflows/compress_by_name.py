"""The command compress: networks loaded by name, or from a run that is resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_slimming.config import Run
from gan_slimming.errors import Interrupted, UserError
from gan_slimming.models import load_generator
from gan_slimming.serialization.generator_file import load_generator_file
from gan_slimming.serialization.provenance import fingerprint
from gan_slimming.serialization.resolve import model_file, split_discriminator, split_generator
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.workflows.compress import OnStep, compress


@dataclass(frozen=True)
class Named:
    """The user's names of a run's parts; None takes those of the resumed run."""

    generator: str | None = None
    """NAME[:WEIGHTS] or package.module:factory[:WEIGHTS]."""
    weights: Path | None = None
    """Weights of the teacher, instead of :WEIGHTS."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the generator's factory."""
    student: Path | None = None
    """Run folder or generator.safetensors to start from, instead of a copy of the teacher."""
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
    """Load the teacher by its name, compress it, and return the summary.

    With `resume`, the settings and all parts without a name come from the run folder.
    """
    folder = RunFolder(output)
    folder.check(resume=resume, overwrite=overwrite)  # before any slow work
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
    saved_student = record.get("student") or {"sha256": None}
    if resume and (student and fingerprint(student)) != saved_student["sha256"]:
        raise UserError(f"{output} was started from another student; name that one with --student")
    discriminator, source = _discriminator(named.discriminator, run.seed)
    try:
        return compress(
            teacher, named.data, output, run, targets=named.targets, student=student,
            discriminator=discriminator, protect=named.protect, resume=resume, overwrite=overwrite,
            on_step=on_step, weights=weights, student_source=named.student,
            discriminator_source=source,
        ).summary  # fmt: skip
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}{_own_code(name, named.discriminator)}") from None


def _own_code(generator: str, discriminator: str | None) -> str:
    """Return the flags that resuming needs because a run folder alone imports no code."""
    flags = f" --generator {generator}" if ":" in generator else ""
    if discriminator and ":" in split_discriminator(discriminator)[0]:
        flags += f" --discriminator {discriminator}"
    return flags


def _of_run(record: Mapping[str, Any], named: Named) -> Named:
    """Fill in names from the record of the run; the user's own take precedence."""
    saved = record["generator"]
    if named.generator is None and ":" in saved["name"]:
        raise UserError(
            f"the run's generator is code of your own, and a file alone imports nothing; add "
            f"--generator {saved['name']}"
        )
    previous = record.get("discriminator")
    if named.discriminator is None and previous and ":" in split_discriminator(previous)[0]:
        raise UserError(
            f"the run's discriminator is code of your own, and a file alone imports nothing; add "
            f"--discriminator {previous}"
        )
    held = named.generator is not None and _split(named.generator)[1] is not None
    student_record = record.get("student") or {}
    known = Path(saved["weights"]) if saved["weights"] and not held else None
    return replace(
        named,
        generator=named.generator or saved["name"],
        weights=named.weights or known,
        arguments=named.arguments or saved["arguments"],
        student=named.student or _path(student_record.get("file")),
        data=named.data or _path(record["data"]),
        targets=named.targets or _path(record["targets"]),
        discriminator=named.discriminator or previous,
        protect=record["protect"],
    )


def _student(model: Path | None, generator: str, output: Path) -> nn.Module | None:
    """Load the student to train further; one of the user's code shares the teacher's factory."""
    if model is None:
        return None
    file = model_file(model)
    if file is None:
        raise UserError(f"no such file or folder: {model}; --student is an earlier run's folder")
    if output.resolve() in file.resolve().parents:
        raise UserError(f"{file} lies in {output}, which this run makes; name another --output")
    return load_generator_file(file, factory=generator if ":" in generator else None)


def _discriminator(text: str | None, seed: int) -> tuple[nn.Module | None, str | None]:
    """Load the named discriminator; return it, and its name with the whole path of its weights."""
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
    """Return name and weights; the registry checks a name alone."""
    return split_generator(generator) if ":" in generator else (generator, None)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
