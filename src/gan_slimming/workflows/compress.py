"""compress: a trained generator and a folder of pictures in, a small generator out."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.budget import parameters_left
from gan_slimming.checkpoint import save_generator
from gan_slimming.config import InputContract, Run, UserError
from gan_slimming.data.images import open_folder
from gan_slimming.data.pictures import to_contract, write_picture
from gan_slimming.metrics.complexity import count
from gan_slimming.models.registry import load_generator, spec_of
from gan_slimming.pruning.groups import macs_left
from gan_slimming.student import Student, prepare
from gan_slimming.surgery import extract
from gan_slimming.trainer import Setting, Trainer
from gan_slimming.workflows.machine import best_threads, make_fabric
from gan_slimming.workflows.quality import Tracker, border, distance_of
from gan_slimming.workflows.run_folder import (
    CHECKPOINT,
    environment,
    fingerprint,
    open_run_folder,
    read_run,
    write_config,
)

FLOAT_BYTES = 4
SAMPLES = 6
TRACKED = 16
"""Held out pictures that are looked at while training; the final figures are on all of them."""

OnStep = Callable[[int, int, dict[str, float]], None]
"""Called after every step with (step, steps, terms)."""


@dataclass
class Compressed:
    """What compress returns."""

    generator: nn.Module
    """The small generator, a plain module in its own convention, in evaluation mode."""
    summary: dict[str, Any]
    """The JSON of the command."""


def compress(
    teacher: nn.Module,
    data: str | Path,
    output: str | Path,
    run: Run | None = None,
    *,
    targets: str | Path | None = None,
    student: nn.Module | None = None,
    protect: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    on_step: OnStep | None = None,
    weights: Path | None = None,
    **settings: Any,
) -> Compressed:
    """Make a trained generator small: one objective, then an exact extraction.

    compress(teacher, "photos/", "runs/small", budget=Budget(macs=0.05), bits=8)

    Args:
        teacher: a trained image-to-image generator, from `load_generator` or any nn.Module; its
            pictures are (batch, 3, height, width) in the convention of its `.spec.contract`.
        data: folder of pictures to train on; some are held out to track quality.
        output: the run folder that is made.
        run: settings; the defaults fit a laptop.
        targets: folder of real pictures of the teacher's output domain, for the discriminator;
            without it the teacher's own outputs are the real ones.
        student: where to start from instead of a copy of the teacher, for comparisons.
        protect: shell patterns of modules whose channels stay.
        resume: go on with the run in `output`.
        overwrite: replace a run folder that exists.
        on_step: called after every step with (step, steps, terms).
        weights: the teacher's file, noted down for whoever resumes the run.
        settings: fields of `Run`, over those of `run`: budget, bits, size, seed and so on.

    Raises:
        UserError: anything that the user can mend, in one line.
        Interrupted: Ctrl-C; the run is saved and can be resumed.
    """
    run = dataclasses.replace(run or Run(), **_known(settings))
    folder = Path(output)
    contract = spec_of(teacher).contract
    _check_size(run.size, contract)
    run = dataclasses.replace(run, threads=run.threads or best_threads())
    fabric = make_fabric(run)
    torch.manual_seed(run.seed)
    teacher = copy.deepcopy(teacher).eval().requires_grad_(False).to(fabric.device)
    # Wide convolutions are faster with channels last, and the teacher is run very often.
    teacher = teacher.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    example = (torch.zeros(1, contract.channels, run.size, run.size, device=fabric.device),)
    start = teacher if student is None else student
    prepared = prepare(
        start, example, bits=run.bits, activation_range=run.activation_range, protect=protect
    )
    pictures, held = open_folder(data, run.size, holdout=run.holdout)
    real = open_folder(targets, run.size, holdout=0)[0] if targets is not None else None
    distance_name, distance = distance_of(run.objective, teacher, contract, fabric.device)
    wrap = border(contract)
    tracker = Tracker(held, wrap(teacher), fabric.device)
    total = run.optimisation.steps
    setting = Setting(
        teacher=wrap(teacher),
        border=wrap,
        to_input=lambda pictures: to_contract(pictures, contract),
        pictures=pictures,
        targets=real,
        distance=distance,
        track=lambda generate: tracker(generate, most=TRACKED),
        folder=folder,
        takes=lambda side: _fits(side, contract),
        on_step=lambda step, terms: on_step(step, total, terms) if on_step else None,
    )
    trainer = Trainer(fabric, prepared, run, setting)
    open_run_folder(folder, resume=resume, overwrite=overwrite)
    if resume:
        trainer.load_state(torch.load(folder / CHECKPOINT, weights_only=True))
    else:
        write_config(
            folder, run, teacher, data=data, targets=targets, protect=protect,
            distance=distance_name, weights=weights,
        )  # fmt: skip
    final = trainer.fit()
    generator = extract(final)
    summary = _cost(run, teacher, final, example)
    summary |= {"steps": trainer.step, "seconds": round(trainer.seconds, 1)}
    summary |= _deliver(folder, run, start, final, generator, tracker, wrap)
    summary["protocol"]["distance_trained_on"] = distance_name
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return Compressed(generator, summary)


def compress_from(
    generator: str | None,
    weights: Path | None,
    arguments: Mapping[str, Any],
    data: Path | None,
    output: Path,
    run: Run,
    *,
    targets: Path | None = None,
    protect: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """The command: load the teacher by its name and compress it; returns the summary.

    With `resume` the settings come from the run folder, and so do teacher and pictures unless
    they are named.
    """
    record: dict[str, Any] = {}
    if resume:
        run, record = read_run(output)
        data = data or Path(record["data"])
        targets = targets or (Path(record["targets"]) if record["targets"] else None)
        protect = record["protect"]
        generator, weights, arguments = _teacher_of(record, generator, weights, arguments)
    if generator is None or data is None:
        raise UserError("name the teacher with --generator and the pictures with --data")
    weights = Path(weights) if weights else None
    if weights is None and ":" not in generator:
        raise UserError(
            f"{generator} without trained weights draws noise; give its file with --weights"
        )
    teacher = load_generator(generator, weights, **arguments)
    if resume and fingerprint(teacher) != record["generator"]["sha256"]:
        raise UserError(f"{output} was started with another teacher; give the same --weights")
    return compress(
        teacher, data, output, run, targets=targets, protect=protect, resume=resume,
        overwrite=overwrite, on_step=on_step, weights=weights,
    ).summary  # fmt: skip


def _teacher_of(
    record: Mapping[str, Any],
    generator: str | None,
    weights: Path | None,
    arguments: Mapping[str, Any],
) -> tuple[str, Path | None, Mapping[str, Any]]:
    """The teacher that a run was started with, as far as the user does not name it."""
    saved = record["generator"]
    if generator is None and ":" in saved["name"]:
        raise UserError(
            f"the run's generator is code of your own, and a file alone imports nothing; add "
            f"--generator {saved['name']}"
        )
    weights = weights or (Path(saved["weights"]) if saved["weights"] else None)
    return generator or saved["name"], weights, arguments or saved["arguments"]


def _known(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    names = [field.name for field in dataclasses.fields(Run)]
    unknown = [name for name in settings if name not in names]
    if unknown:
        raise UserError(f"compress takes no '{unknown[0]}'; settings are {', '.join(names)}")
    return settings


def _check_size(size: int, contract: InputContract) -> None:
    if not _fits(size, contract):
        raise UserError(
            f"size must be a multiple of {contract.multiple_of} and at least {contract.min_size} "
            f"for this generator, got {size}"
        )


def _fits(size: int, contract: InputContract) -> bool:
    return size % contract.multiple_of == 0 and size >= contract.min_size


def _cost(
    run: Run, teacher: nn.Module, final: Student, example: tuple[Tensor, ...]
) -> dict[str, Any]:
    dense = count(teacher, example)
    alive = final.alive()
    return {
        "teacher_macs": dense.macs,
        "macs": macs_left(final.graph, alive),
        "teacher_parameters": dense.parameters,
        "parameters": parameters_left(final.graph, alive),
        "teacher_size_bytes": dense.parameters * FLOAT_BYTES,
        "bits": run.bits,
        "size": run.size,
    }


def _deliver(
    folder: Path,
    run: Run,
    start: nn.Module,
    final: Student,
    generator: nn.Module,
    tracker: Tracker,
    wrap: Callable[[nn.Module], Callable[[Tensor], Tensor]],
) -> dict[str, Any]:
    """Write the artifact and the samples; measure what has been written."""
    path = folder / "generator.safetensors"
    provenance = {
        "teacher_sha256": fingerprint(start),
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
    (folder / "samples").mkdir(exist_ok=True)
    with torch.no_grad():
        for i, (picture, reference) in enumerate(tracker.pairs(SAMPLES)):
            row = torch.cat([picture, reference, wrap(generator)(picture)], dim=3)[0]
            name = f"{i:02d}_input_teacher_student.png"
            write_picture(folder / "samples" / name, row.float().cpu())
    protocol = {
        "pictures": len(tracker.held),
        "size": run.size,
        "resize": "central square, Lanczos",
        "against": "the teacher's output in float32",
    }
    measures = tracker(wrap(generator))
    return {"generator": str(path), "size_bytes": size, **measures, "protocol": protocol}
