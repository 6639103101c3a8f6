"""One row of a table: the stages of a method in turn, then the judgement."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.config import Optimisation, Run, WeightsFile
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.data.files import write_atomically
from gan_slimming.data.training_data import open_training_data
from gan_slimming.experiments.cec_species import Judge, discriminator_aware
from gan_slimming.experiments.folder import TableFolder
from gan_slimming.experiments.methods import Method, Stage, budget_of, merged, run_of
from gan_slimming.experiments.records import FORMAT
from gan_slimming.experiments.starts import (
    Partner,
    evolved,
    fresh,
    narrow,
    quantize,
    save_start,
)
from gan_slimming.experiments.systems import System
from gan_slimming.losses.distance import distance_of
from gan_slimming.metrics.complexity import count
from gan_slimming.models import load_generator
from gan_slimming.models.registry import spec_of
from gan_slimming.serialization.generator_file import load_generator_file
from gan_slimming.serialization.provenance import fingerprint
from gan_slimming.serialization.resolve import choose_device
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.student import Student
from gan_slimming.training.clock import Stopwatch
from gan_slimming.training.setup import FLOAT_BYTES, Setup, TestTimeWarning, set_up
from gan_slimming.workflows.compress import OnStep, compress
from gan_slimming.workflows.compress_by_name import named_discriminator
from gan_slimming.workflows.evaluate import evaluate

LEAST_SHARE = 0.1
"""Share of a row's minutes that is left for training, however long a search takes."""


@dataclass(frozen=True)
class Shared:
    """What all rows of a table have in common."""

    system: System
    folder: TableFolder
    teacher: nn.Module
    weights: WeightsFile
    data: Path | None
    test: Path | None
    targets: Path | None
    test_targets: Path | None
    partner: Path | None
    command: str
    """The command that goes on with the table."""
    on_step: OnStep | None = None

    @property
    def factory(self) -> str | None:
        """Return the name of a factory of the user's own."""
        return self.system.generator if ":" in self.system.generator else None

    def run(self, stage: Stage) -> Run:
        """Return a stage's settings, without budget and length."""
        of_stage = stage.settings if stage.make in ("compress", "quantize") else {"bits": "none"}
        shared = merged(self.system.settings, {"seed": self.system.seed})
        return run_of(merged(shared, of_stage))

    def costs(self) -> dict[str, Any]:
        """Return the teacher's cost for one image of the table's size."""
        contract = spec_of(self.teacher).contract
        size = int(self.system.settings.get("size", Run().size))
        cost = count(self.teacher, dummy_inputs(contract, size, like=self.teacher))
        size_bytes = cost.parameters * FLOAT_BYTES
        return {"macs": cost.macs, "parameters": cost.parameters, "size_bytes": size_bytes}


@dataclass(frozen=True)
class Made:
    """What a stage has made."""

    make: str
    generator: Path
    steps: int
    seconds: float
    settings: Mapping[str, Any]


def run_row(shared: Shared, method: Method) -> dict[str, Any]:
    """Run the stages that are not finished, judge the last generator, and return the record.

    Raises:
        UserError: anything that the user can mend.
        Interrupted: Ctrl-C; a stage that trains is saved and goes on next time.
    """
    made: list[Made] = []
    for number, stage in enumerate(method.stages, 1):
        folder = shared.folder.stage(method.name, number, stage.make)
        file = made[-1].generator if made else None
        start = None if file is None else load_generator_file(file, factory=shared.factory)
        if stage.make == "compress":
            searched = sum(m.seconds for m in made if m.make != "compress")
            made.append(_trained(shared, stage, folder, start, file, searched))
        else:
            made.append(_started(shared, stage, folder, start))
    return _record(shared, method, made)


def _trained(
    shared: Shared,
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
    files, system = RunFolder(folder), shared.system
    if not files.finished:
        resume = files.is_unfinished and files.checkpoint.is_file()
        run = files.read_config()[0] if resume else _with_length(shared, stage, searched)
        discriminator, named = named_discriminator(system.discriminator, system.seed)
        compress(
            shared.teacher, shared.data, folder, run, targets=shared.targets, student=start,
            discriminator=discriminator, resume=resume, overwrite=not resume,
            on_step=shared.on_step, weights=shared.weights, student_source=source,
            discriminator_source=named, resume_command=shared.command,
        )  # fmt: skip
    summary = json.loads(files.summary.read_text("utf-8"))
    settings = dataclasses.asdict(files.read_config()[0])
    return Made("compress", files.generator, summary["steps"], summary["seconds"], settings)


def _with_length(shared: Shared, stage: Stage, searched: float) -> Run:
    """Return a stage's settings with its budget, and its share of the row's steps or minutes."""
    system, run = shared.system, shared.run(stage)
    length: dict[str, Any] = {"steps": None, "minutes": None}
    if system.minutes is not None:
        left = max(system.minutes - searched / 60, LEAST_SHARE * system.minutes)
        length["minutes"] = stage.share * left
    else:
        assert system.steps is not None
        length["steps"] = max(1, round(stage.share * system.steps))
    optimisation: Optimisation = dataclasses.replace(run.optimisation, **length)
    return dataclasses.replace(run, optimisation=optimisation, budget=_budget(shared, stage))


def _budget(shared: Shared, stage: Stage) -> Any:
    kinds = {"macs": "macs", "parameters": "parameters", "bytes": "size_bytes"}
    kind = next(iter(shared.system.budget), "macs")
    return budget_of(shared.system.budget, stage.budget, shared.costs()[kinds.get(kind, "macs")])


def _started(shared: Shared, stage: Stage, folder: Path, start: nn.Module | None) -> Made:
    """Make what a stage without training makes, or return it where it is there."""
    told, file = folder / "stage.json", folder / "generator.safetensors"
    if not told.is_file():
        run = dataclasses.replace(shared.run(stage), budget=_budget(shared, stage))
        watch = Stopwatch(choose_device(run.device).type)
        with watch.lap():
            setup, student = _start(shared, stage, run, start)
            save_start(setup, student, file, shared.teacher)
        seconds = round(watch.seconds, 1)
        write_atomically(told, (json.dumps({"seconds": seconds}) + "\n").encode())
    seconds = json.loads(told.read_text("utf-8"))["seconds"]
    return Made(stage.make, file, 0, seconds, dataclasses.asdict(stage.parsed()))


def _start(
    shared: Shared, stage: Stage, run: Run, start: nn.Module | None
) -> tuple[Setup, Student]:
    """Return the student of a stage without training, and the setup that it was made in."""
    settings = stage.parsed()
    if stage.make == "narrow":
        with warnings.catch_warnings():  # fresh weights have no statistics yet
            warnings.simplefilter("ignore", TestTimeWarning)
            setup = set_up(fresh(shared.teacher, run.seed), run)
        return setup, narrow(setup, settings)
    if stage.make == "quantize":
        setup = set_up(shared.teacher, run, student=start)
        return setup, quantize(setup, _inputs(shared, setup, shared.data))
    setup = set_up(start or shared.teacher, run)
    return setup, _evolved(shared, setup, stage)


def _evolved(shared: Shared, setup: Setup, stage: Stage) -> Student:
    """Return the student that co-evolution found, with the opposite direction if it is known."""
    system = shared.system
    changes = {**stage.settings, **system.evolve}
    settings = dataclasses.replace(stage, settings=changes).parsed()
    judge = _judge(shared, setup)
    partner = None
    if shared.partner is not None and shared.targets is not None:
        opposite = load_generator(system.generator, shared.partner, **system.arguments)
        other = set_up(opposite, setup.run)
        judge_back = _distance(shared, other)
        partner = Partner(other, _inputs(shared, other, shared.targets), judge_back)
    inputs = _inputs(shared, setup, shared.data)
    return evolved(setup, inputs, settings, judge, partner)


def _judge(shared: Shared, setup: Setup) -> Judge:
    """Return the discriminator-aware distance; that of the objective without a discriminator."""
    discriminator, _ = named_discriminator(shared.system.discriminator, shared.system.seed)
    if discriminator is None:
        return _distance(shared, setup)
    return discriminator_aware(discriminator.to(setup.fabric.device))


def _distance(shared: Shared, setup: Setup) -> Judge:
    objective = run_of(shared.system.settings).objective
    teacher = setup.teacher.generator
    return distance_of(objective, teacher, setup.contract, setup.fabric.device)[1]


def _inputs(shared: Shared, setup: Setup, data: Path | None) -> Any:
    folder = None if setup.contract.latent_size else data
    return open_training_data(setup.contract, setup.run, setup.side, folder, None).inputs


def _record(shared: Shared, method: Method, made: list[Made]) -> dict[str, Any]:
    """Judge the last generator on images that no stage has seen, and return the row's record."""
    system, last = shared.system, made[-1]
    noise = spec_of(shared.teacher).contract.latent_size > 0
    size = None if noise else int(system.settings.get("size", Run().size))
    report = evaluate(
        [str(last.generator)], None if noise else shared.test, teacher=shared.teacher,
        targets=shared.test_targets, metrics=list(system.metrics), size=size,
        count=system.count if noise else None, seed=system.seed, factory=shared.factory,
        device=str(system.settings.get("device", "auto")),
    )  # fmt: skip
    told = report["models"][0]
    costs = ("macs", "parameters", "size_bytes", "peak_activation_bytes")
    stages = zip(method.stages, made, strict=True)
    amount = ", ".join(f"{value} of {kind}" for kind, value in system.budget.items())
    minutes = f"{system.minutes:g} minutes" if system.minutes else f"{system.steps:,} steps"
    return {
        "format": FORMAT,
        "experiment": system.name,
        "scale": system.scale,
        "row": method.name,
        "summary": method.summary,
        "command": shared.command,
        "length": minutes,
        "budget": amount,
        "teacher": {
            "generator": system.generator,
            "arguments": dict(system.arguments),
            "weights": Path(system.weights).name if system.weights else "random",
            "sha256": fingerprint(shared.teacher),
            **shared.costs(),
        },
        "cost": {key: told[key] for key in costs},
        "results": [_result(row, method.name) for row in report["results"]],
        "verdict": told["verdict"],
        "images": report["images"],
        "skipped": len(report["skipped"]),
        "data": {"train": system.data, "test": system.test, "targets": system.targets},
        "stages": [
            {"make": s.make, "share": s.share, "budget": s.budget, "steps": m.steps,
             "seconds": m.seconds, "settings": m.settings}
            for s, m in stages
        ],
        "steps": sum(m.steps for m in made),
        "seconds": round(sum(m.seconds for m in made), 1),
        "seed": system.seed,
        "threads": next((m.settings["threads"] for m in made if "threads" in m.settings), 1),
        "environment": report["environment"],
        "date": date.today().isoformat(),
        "note": "",
    }  # fmt: skip


def _result(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return one figure of `evaluate`, without the paths of this machine."""
    protocol = dict(row["protocol"])
    for key in ("data", "against", "targets"):
        if protocol.get(key) is not None:
            protocol[key] = Path(str(protocol[key])).name
    return {**row, "model": name, "protocol": protocol}
