"""compress: a trained generator in (and images, where it takes any), a small one out."""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.config import Run, WeightsFile
from gan_slimming.data.dataset import Dataset, check_dataset
from gan_slimming.data.image_list import list_set
from gan_slimming.data.ranks.collectives import from_first
from gan_slimming.data.ranks.launch import is_first
from gan_slimming.data.signal_folder import SignalFolder
from gan_slimming.data.training_data import TrainingData, open_training_data
from gan_slimming.errors import UserError, system_reason
from gan_slimming.losses.distance import distance_of
from gan_slimming.losses.objective import Distance
from gan_slimming.metrics.tracker import Tracker
from gan_slimming.models.registry import infer_spec
from gan_slimming.reports.run import report
from gan_slimming.serialization.checkpoint_file import RunIdentity, digest_of
from gan_slimming.serialization.follower_folder import run_folder
from gan_slimming.serialization.provenance import environment, fingerprint
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.student.surgery import extract
from gan_slimming.training.artifacts import write_artifacts
from gan_slimming.training.context import TrainingContext
from gan_slimming.training.search import TargetWarning, check_target
from gan_slimming.training.setup import Setup, set_up
from gan_slimming.training.target_trainer import trainer_of
from gan_slimming.training.train import train
from gan_slimming.workflows.run_exports import try_exports, write_exports

TRACKED = 16
"""Held-out inputs that are looked at while training; the final figures are on all of them."""

_log = logging.getLogger("gan_slimming")

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
    data: str | Path | Dataset | None,
    output: str | Path,
    run: Run | None = None,
    *,
    targets: str | Path | None = None,
    student: nn.Module | None = None,
    discriminator: nn.Module | None = None,
    protect: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    on_step: OnStep | None = None,
    weights: str | Path | WeightsFile | None = None,
    student_source: Path | None = None,
    discriminator_source: str | None = None,
    keep: Sequence[Path] = (),
    dataset_source: str | None = None,
    resume_command: str | None = None,
    positions: Sequence[float] = (),
    **settings: Any,
) -> Compressed:
    """Make a trained generator small: one objective, then an exact extraction.

    compress(teacher, "photos/", "runs/small", budget=Budget(macs=0.05), bits=8)

    Args:
        teacher: a trained generator, from `load_generator` or any nn.Module; what it takes and
            gives, images or noise, is told by its `.spec.contract` or `.contract`.
        data: folder of images to train on, a CSV file that names them, or a map-style dataset
            whose items are the generator's inputs; some are held out to track quality. None for a
            generator that takes noise.
        output: the run folder that is made.
        run: settings; the defaults fit a laptop.
        targets: folder of real images of the teacher's output domain, for the discriminator;
            without it the GAN game is left out, or the teacher's own outputs are the real ones
            (see `Objective.adversarial`).
        student: where to start from instead of a copy of the teacher: a small generator that is to
            be trained further, or any other that takes and gives the same. It is copied, and its
            features are not compared with the teacher's.
        discriminator: such as the one that the teacher was trained against: (batch, 3, height,
            width) RGB in [-1, 1] to logits; copied. None for a fresh PatchGAN.
        protect: shell patterns of modules whose channels stay.
        resume: go on with the run in `output`.
        overwrite: replace a run folder that exists. Only files that a run makes are removed, and
            never from a folder that holds an input of this run.
        on_step: called after every step with (step, steps, terms).
        weights: the teacher's file, noted down for whoever resumes the run.
        student_source, discriminator_source: where these were loaded from, noted down likewise.
        dataset_source: package.module:factory of the dataset, noted down likewise.
        keep: further files of the user's that overwriting must not touch.
        resume_command: the command that goes on with this run, for whoever stops it.
        positions: of a run by the clock that is repeated, from `RunFolder.read_positions`.
        settings: fields of `Run`, over those of `run`: budget, bits, size, seed and so on.

    Warns:
        TargetWarning: the target was not reached; the result is the best student found.
    Raises:
        UserError: anything that the user can mend, in one line.
        Interrupted: Ctrl-C; the run is saved and can be resumed.
    """
    folder = run_folder(output)
    file = WeightsFile.of(weights)
    if data is not None and not isinstance(data, str | Path):
        check_dataset(data)
    folder_of_data = data if isinstance(data, str | Path) else None
    inputs = _inputs(
        folder_of_data, targets, file.path, student_source, discriminator_source, *keep
    )
    folder.check(resume=resume, overwrite=overwrite, inputs=inputs)
    run = dataclasses.replace(run or Run(), **_known(settings))
    setup = set_up(teacher, run, student=student, protect=protect)
    if setup.contract.signal:
        data = _signals(data, targets, discriminator, setup)
    training_data = open_training_data(setup.contract, setup.run, setup.side, data, targets)
    check_target(setup.run.target, len(training_data.held))
    if not resume:
        try_exports(setup)
    name, distance = distance_of(
        run.objective, setup.teacher.generator, setup.contract, setup.fabric.device
    )
    tracker = Tracker(
        training_data.held, setup.teacher, setup.fabric.device, signal=setup.contract.signal
    )
    context = _context(setup, training_data, distance, tracker)
    context.positions = positions
    context.same_channels, context.discriminator = student is None, discriminator
    context.resume_command = resume_command
    context.answers_folder = folder.checkpoint.parent
    trainer = trainer_of(setup.fabric, setup.student, setup.run, context)
    setup = dataclasses.replace(setup, run=trainer.run)
    if on_step is not None:
        context.on_step = lambda step, terms: on_step(step, trainer.schedule.total, terms)
    if not resume:
        trainer.batches.check_teacher(trainer.schedule.downscale)
    images = [*list_set("data", data), *list_set("targets", targets)] if is_first() else []
    folder.identity = RunIdentity(
        dataclasses.asdict(setup.run), fingerprint(teacher), fingerprint(setup.start),
        digest_of(images),
    )  # fmt: skip
    with folder.owned():
        folder.check(resume=resume, overwrite=overwrite, inputs=inputs)
        if resume:
            folder.check_images(images)
            trainer.load_state_dict(from_first(folder.load_checkpoint))
            folder.drop_metrics_after(trainer.step)
        else:
            folder.make(overwrite=overwrite, inputs=inputs)
            record = _record(setup, teacher) | {"distance": name, "protect": list(protect)}
            record["generator"] |= _weights(file)
            record |= {"data": _whole(folder_of_data), "targets": _whole(targets)}
            record |= {"dataset": dataset_source} if dataset_source else {}
            if student is not None:
                record["student"] = {"file": _whole(student_source), "sha256": fingerprint(student)}
            folder.write_images(images)
            folder.write_config(record | {"discriminator": discriminator_source})
        final = train(trainer, folder)
        generator = extract(final)

        def results() -> dict[str, Any]:
            summary = write_artifacts(folder, setup, final, generator, tracker, trainer, name)
            exports = write_exports(folder, setup.run.exports, generator)
            summary = dataclasses.replace(summary, exports=exports)
            folder.write_summary(summary.as_json())
            _write_page(folder)
            return summary.as_json()

        try:
            summary = from_first(results)
        except OSError as error:
            raise UserError(
                f"the results in {folder} cannot be written ({system_reason(error)}); make room, "
                f"then go on with {resume_command or f'--resume --output {folder}'}"
            ) from error
    if (target := summary.get("target")) is not None and not target["met"]:
        warnings.warn(target["text"], TargetWarning, stacklevel=2)
    return Compressed(generator, summary)


def _signals(
    data: str | Path | Dataset | None,
    targets: str | Path | None,
    discriminator: nn.Module | None,
    setup: Setup,
) -> Dataset | None:
    """Return the signals of a folder as a dataset; refuse what is for images."""
    if targets is not None or discriminator is not None:
        raise UserError(
            "the GAN game is for images; leave out --targets and --discriminator for waveforms"
        )
    if isinstance(data, str | Path):
        return SignalFolder(Path(data), setup.contract.channels, setup.run.size)
    return data


def _write_page(folder: RunFolder) -> None:
    """Write the report; without room for it the run is finished all the same."""
    try:
        report(folder.path)
    except OSError as error:
        text = "%s is finished, but its report cannot be written (%s); make room, then %s"
        _log.warning(text, folder, system_reason(error), f"gan-slimming report {folder}")


def _inputs(*given: str | Path | None) -> list[Path]:
    """Return the files and folders that a run reads; of a discriminator, that of its weights."""
    paths = [Path(path) for path in given if path is not None]
    weights = [Path(str(path).rpartition(":")[2]) for path in paths if not path.exists()]
    return [path for path in (*paths, *weights) if os.path.lexists(path)]


def _context(
    setup: Setup, data: TrainingData, distance: Distance, tracker: Tracker
) -> TrainingContext:
    """Return what the training works with."""
    return TrainingContext(
        teacher=setup.teacher,
        inputs=data.inputs,
        targets=data.targets,
        distance=distance,
        # Measured once, where processes share a run, so that all of them decide alike.
        track=lambda generate: from_first(lambda: tracker(generate, most=TRACKED)),
        judge=lambda generate: from_first(lambda: tracker.judge(generate, setup.run.target.kind)),
        side=setup.side,
        noisy=setup.noisy,
        channels_last=setup.channels_last,
    )


def _record(setup: Setup, teacher: nn.Module) -> dict[str, Any]:
    """Return what config.yaml says of any run: settings, fingerprint, environment."""
    spec = infer_spec(teacher)
    return {
        "generator": {
            "name": spec.name,
            "arguments": spec.arguments,
            "sha256": fingerprint(teacher),
        },
        "student": None,
        "channels": {group.name: group.channels for group in setup.student.graph.prunable},
        "run": dataclasses.asdict(setup.run),
        "environment": environment(),
    }


def _weights(file: WeightsFile) -> dict[str, Any]:
    """Return what config.yaml says of the teacher's weights."""
    said = {"weights_key": file.key, "rename": list(file.rename)}
    return {"weights": _whole(file.path)} | {key: value for key, value in said.items() if value}


def _whole(path: str | Path | None) -> str | None:
    """Return a path that another folder's process finds, too."""
    return str(Path(path).resolve()) if path else None


def _known(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings that are fields of Run; raise UserError for others."""
    names = [field.name for field in dataclasses.fields(Run)]
    unknown = [name for name in settings if name not in names]
    if unknown:
        raise UserError(f"compress takes no '{unknown[0]}'; settings are {', '.join(names)}")
    return settings
