"""One row of a table: the stages of a method in turn, then the judgement."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.config import Optimisation, Run
from gan_slimming.data.files import write_atomically
from gan_slimming.data.training_data import open_training_data
from gan_slimming.experiments.cec_species import Judge, discriminator_aware
from gan_slimming.experiments.methods import Method, Stage, budget_of, run_of
from gan_slimming.experiments.starts import (
    Partner,
    evolved,
    fresh,
    narrow,
    quantize,
    save_start,
)
from gan_slimming.experiments.table import Made, Table
from gan_slimming.losses.distance import distance_of
from gan_slimming.models import load_generator
from gan_slimming.serialization.generator_file import load_generator_file
from gan_slimming.serialization.resolve import choose_device
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.student import Student
from gan_slimming.training.clock import Stopwatch
from gan_slimming.training.setup import Setup, TestTimeWarning, set_up
from gan_slimming.workflows.compress import compress
from gan_slimming.workflows.compress_by_name import named_discriminator
from gan_slimming.workflows.experiment_record import record_of

LEAST_SHARE = 0.1
"""Share of a row's minutes that is left for training, however long a search takes."""


def run_row(table: Table, method: Method) -> dict[str, Any]:
    """Run the stages that are not finished, judge the last generator, and return the record.

    Raises:
        UserError: anything that the user can mend.
        Interrupted: Ctrl-C; a stage that trains is saved and goes on next time.
    """
    made: list[Made] = []
    for number, stage in enumerate(method.stages, 1):
        folder = table.folder.stage(method.name, number, stage.make)
        file = made[-1].generator if made else None
        start = None if file is None else load_generator_file(file, factory=table.factory)
        if stage.make == "compress":
            searched = sum(m.seconds for m in made if m.make != "compress")
            made.append(_trained(table, stage, folder, start, file, searched))
        else:
            made.append(_started(table, stage, folder, start))
    return record_of(table, method, made)


def _trained(
    table: Table,
    stage: Stage,
    folder: Path,
    start: nn.Module | None,
    source: Path | None,
    searched: float,
) -> Made:
    """Train a stage, or go on with it, or return it where it is finished.

    Args:
        start: the generator of the stage before, from `source`.
        searched: seconds that stages before it have taken without training.
    """
    files, system = RunFolder(folder), table.system
    if not files.finished:
        resume = files.is_unfinished and files.checkpoint.is_file()
        run = files.read_config()[0] if resume else _with_length(table, stage, searched)
        discriminator, named = named_discriminator(system.discriminator, system.seed)
        compress(
            table.teacher, table.data, folder, run, targets=table.targets, student=start,
            discriminator=discriminator, resume=resume, overwrite=not resume,
            on_step=table.on_step, weights=table.weights, student_source=source,
            discriminator_source=named, resume_command=table.command,
        )  # fmt: skip
    summary = json.loads(files.summary.read_text("utf-8"))
    settings = dataclasses.asdict(files.read_config()[0])
    return Made("compress", files.generator, summary["steps"], summary["seconds"], settings)


def _with_length(table: Table, stage: Stage, searched: float) -> Run:
    """Return a stage's settings with its budget, and its share of the row's steps or minutes."""
    system, run = table.system, table.run(stage)
    length: dict[str, Any] = {"steps": None, "minutes": None}
    if system.minutes is not None:
        left = max(system.minutes - searched / 60, LEAST_SHARE * system.minutes)
        length["minutes"] = stage.share * left
    else:
        assert system.steps is not None
        length["steps"] = max(1, round(stage.share * system.steps))
    optimisation: Optimisation = dataclasses.replace(run.optimisation, **length)
    return dataclasses.replace(run, optimisation=optimisation, budget=_budget(table, stage))


def _budget(table: Table, stage: Stage) -> Any:
    kinds = {"macs": "macs", "parameters": "parameters", "bytes": "size_bytes"}
    kind = next(iter(table.system.budget), "macs")
    return budget_of(table.system.budget, stage.budget, table.costs()[kinds.get(kind, "macs")])


def _started(table: Table, stage: Stage, folder: Path, start: nn.Module | None) -> Made:
    """Make what a stage without training makes, or return it where it is there."""
    told, file = folder / "stage.json", folder / "generator.safetensors"
    if not told.is_file():
        run = dataclasses.replace(table.run(stage), budget=_budget(table, stage))
        watch = Stopwatch(choose_device(run.device).type)
        with watch.lap():
            setup, student = _start(table, stage, run, start)
            save_start(setup, student, file, table.teacher)
        seconds = round(watch.seconds, 1)
        write_atomically(told, (json.dumps({"seconds": seconds}) + "\n").encode())
    seconds = json.loads(told.read_text("utf-8"))["seconds"]
    return Made(stage.make, file, 0, seconds, dataclasses.asdict(stage.parsed()))


def _start(table: Table, stage: Stage, run: Run, start: nn.Module | None) -> tuple[Setup, Student]:
    """Return the student of a stage without training, and the setup that it was made in."""
    settings = stage.parsed()
    if stage.make == "narrow":
        with warnings.catch_warnings():  # fresh weights have no statistics yet
            warnings.simplefilter("ignore", TestTimeWarning)
            setup = set_up(fresh(table.teacher, run.seed), run)
        return setup, narrow(setup, settings)
    if stage.make == "quantize":
        setup = set_up(table.teacher, run, student=start)
        return setup, quantize(setup, _inputs(table, setup, table.data))
    setup = set_up(start or table.teacher, run)
    return setup, _evolved(table, setup, stage)


def _evolved(table: Table, setup: Setup, stage: Stage) -> Student:
    """Return the student that co-evolution found, with the opposite direction if it is known."""
    system = table.system
    changes = {**stage.settings, **system.evolve}
    settings = dataclasses.replace(stage, settings=changes).parsed()
    judge = _judge(table, setup)
    partner = None
    if table.partner is not None and table.targets is not None:
        opposite = load_generator(system.generator, table.partner, **system.arguments)
        other = set_up(opposite, setup.run)
        judge_back = _distance(table, other)
        partner = Partner(other, _inputs(table, other, table.targets), judge_back)
    inputs = _inputs(table, setup, table.data)
    return evolved(setup, inputs, settings, judge, partner)


def _judge(table: Table, setup: Setup) -> Judge:
    """Return the discriminator-aware distance; that of the objective without a discriminator."""
    discriminator, _ = named_discriminator(table.system.discriminator, table.system.seed)
    if discriminator is None:
        return _distance(table, setup)
    return discriminator_aware(discriminator.to(setup.fabric.device))


def _distance(table: Table, setup: Setup) -> Judge:
    objective = run_of(table.system.settings).objective
    teacher = setup.teacher.generator
    return distance_of(objective, teacher, setup.contract, setup.fabric.device)[1]


def _inputs(table: Table, setup: Setup, data: Path | None) -> Any:
    folder = None if setup.contract.latent_size else data
    return open_training_data(setup.contract, setup.run, setup.side, folder, None).inputs
