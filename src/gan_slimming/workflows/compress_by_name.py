"""The command compress: networks loaded by name, or from a run that is resumed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_slimming.config import Named, Run, WeightsFile
from gan_slimming.data.dataset import load_dataset
from gan_slimming.errors import UserError
from gan_slimming.models import load_generator
from gan_slimming.serialization.follower_folder import run_folder
from gan_slimming.serialization.generator_file import load_generator_file
from gan_slimming.serialization.provenance import fingerprint
from gan_slimming.serialization.resolve import model_file, split_discriminator, split_generator
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.workflows.compress import OnStep, compress


def compress_by_name(
    named: Named,
    output: Path,
    run: Run,
    *,
    resume: bool = False,
    overwrite: bool = False,
    repeat: Path | None = None,
    on_step: OnStep | None = None,
    keep: Sequence[Path] = (),
) -> dict[str, Any]:
    """Load the teacher by its name, compress it, and return the summary.

    With `resume` or `repeat`, the settings and all parts without a name come from the run folder.

    Args:
        repeat: folder of a finished run, whose steps are taken once more.
        keep: files of the user's that `overwrite` must not touch.
    """
    folder = run_folder(output)
    known, positions = folder if resume else None, list[float]()
    if repeat is not None:
        known, positions = _repeated(repeat, output, resume=resume)
    own = [named.data, named.targets, named.weights, named.student, repeat, *keep]
    inputs = [Path(path) for path in own if path is not None]
    folder.check(resume=resume, overwrite=overwrite, inputs=inputs)  # before any slow work
    record: dict[str, Any] = {}
    if known is not None:
        run, record = known.read_config()
        named = _of_run(record, named)
    if named.data is not None and named.dataset is not None:
        raise UserError(f"name --data or --dataset, not both; got {named.data} and {named.dataset}")
    name, file = _teacher(named)
    teacher = load_generator(name, file, **(named.generator_args or {}))
    student = _student(named.student, name, output)
    if known is not None:
        _check_same(known, record, teacher, student)
    discriminator, source = named_discriminator(named.discriminator, run.seed)
    data = load_dataset(named.dataset) if named.dataset else named.data
    return compress(
        teacher, data, output, run, targets=named.targets, student=student,
        discriminator=discriminator, protect=named.protect or (), resume=resume,
        overwrite=overwrite, on_step=on_step, weights=file, student_source=named.student,
        discriminator_source=source, dataset_source=named.dataset, keep=keep, positions=positions,
        resume_command=_resume_command(name, source, named.dataset, output),
    ).summary  # fmt: skip


def _teacher(named: Named) -> tuple[str, WeightsFile]:
    """Return the teacher's name, and the file of its weights."""
    if named.generator is None:
        raise UserError("name the teacher with --generator")
    name, inline = _split(named.generator)
    if inline and named.weights:
        raise UserError(f"{named.generator} names weights already; leave out {named.weights}")
    weights = replace(named.file, path=inline or named.weights)
    if weights.path is None and ":" not in name:
        raise UserError(f"{name} without trained weights draws noise; give its file with --weights")
    return name, weights


def _check_same(
    known: RunFolder, record: Mapping[str, Any], teacher: nn.Module, student: nn.Module | None
) -> None:
    """Raise UserError where a run that is resumed or repeated had another teacher or start."""
    if fingerprint(teacher) != record["generator"]["sha256"]:
        raise UserError(
            f"{known} was started with another teacher; give the same --weights, and "
            "--weights-key where the file holds several"
        )
    saved_student = record.get("student") or {"sha256": None}
    if (student and fingerprint(student)) != saved_student["sha256"]:
        raise UserError(f"{known} was started from another student; name that one with --student")


def _repeated(repeat: Path, output: Path, *, resume: bool) -> tuple[RunFolder, list[float]]:
    """Return the run to repeat, and its progress after each step if it went by the clock."""
    if resume:
        raise UserError("a run that is repeated is resumed without --repeat; leave it out")
    if output.resolve() == repeat.resolve():
        raise UserError(f"{output} is the run to repeat; name another --output")
    return RunFolder(repeat), RunFolder(repeat).read_positions()


def _resume_command(
    generator: str, discriminator: str | None, dataset: str | None, output: Path
) -> str:
    """Return the command that resumes a run; code of the user's own has to be named again."""
    words = ["gan-slimming", "compress", "--resume", "--output", str(output)]
    words += ["--generator", generator] if ":" in generator else []
    if discriminator and ":" in split_discriminator(discriminator)[0]:
        words += ["--discriminator", discriminator]
    words += ["--dataset", dataset] if dataset else []
    return shlex.join(words)


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
    dataset = record.get("dataset")
    if dataset and named.dataset is None and named.data is None:
        raise UserError(
            f"the run's dataset is code of your own, and a file alone imports nothing; add "
            f"--dataset {dataset}"
        )
    held = named.generator is not None and _split(named.generator)[1] is not None
    student_record = record.get("student") or {}
    if saved["weights"] and not held and named.weights is None:
        named = replace(
            named,
            weights=Path(saved["weights"]),
            weights_key=named.weights_key or saved.get("weights_key"),
            rename=named.rename or saved.get("rename"),
        )
    return replace(
        named,
        generator=named.generator or saved["name"],
        generator_args=named.generator_args or saved["arguments"],
        student=named.student or _path(student_record.get("file")),
        data=named.data or (None if named.dataset else _path(record["data"])),
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


def named_discriminator(text: str | None, seed: int) -> tuple[nn.Module | None, str | None]:
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
