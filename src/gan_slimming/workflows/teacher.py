"""teacher: images in, a dense generator out, trained by its own paper's losses."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from gan_slimming.config import Run
from gan_slimming.config.teacher import TeacherSettings, teacher_settings
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.data.cifar10 import read_cifar10
from gan_slimming.errors import UserError, system_reason
from gan_slimming.experiments.teachers.cyclegan import CycleganGame, build_cyclegan
from gan_slimming.experiments.teachers.folder import TeacherFolder
from gan_slimming.experiments.teachers.game import Game
from gan_slimming.experiments.teachers.random_crops import RandomCrops, open_crops
from gan_slimming.experiments.teachers.sngan import SnganGame, build_sngan
from gan_slimming.experiments.teachers.style import StyleGame, build_style
from gan_slimming.experiments.teachers.train import OnStep, Progress, train
from gan_slimming.metrics.complexity import count
from gan_slimming.models import spec_of
from gan_slimming.serialization.checkpoint_file import RunIdentity, digest_of
from gan_slimming.serialization.provenance import environment, fingerprint
from gan_slimming.training.device import best_threads, make_fabric

Build = Callable[[TeacherSettings], nn.Module]
Play = Callable[[Fabric, TeacherSettings, nn.Module, Path, Any], tuple[Game, str]]


def teacher(
    name: str,
    data: str | Path | None,
    output: str | Path,
    *,
    targets: str | Path | None = None,
    scale: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    on_step: OnStep | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Train a dense generator from scratch; return the JSON of the command.

    Args:
        name: sngan, cyclegan or adaptive-style.
        data: for sngan CIFAR-10, a tar or a folder; else a folder of input images.
        output: the folder to make.
        targets: folder of images of the output's kind; not for sngan.
        scale: smoke, cpu or full.
        resume: go on with the run in `output`, with its own settings.
        overwrite: replace a run in `output`.
        on_step: called after every step with (step, expected steps, terms).
        given: fields of TeacherSettings in place of the scale's.
    Raises:
        UserError: anything that the user can mend, in one line.
        Interrupted: Ctrl-C; the run is saved and can be resumed.
    """
    folder = TeacherFolder(output)
    inputs = [Path(path) for path in (data, targets) if path is not None]
    folder.check(resume=resume, overwrite=overwrite, inputs=inputs)
    settings = teacher_settings(name, scale, given)
    if resume:
        settings, record = folder.read_settings()
        if settings.name != name:
            raise UserError(f"{folder} trains {settings.name}, got {name}; name that one")
        data, targets = data or record["data"], targets or record["targets"]
    _check_sources(name, data, targets)
    started = time.monotonic()
    game, fabric, images = _set_up(settings, data, targets)
    start = "".join(fingerprint(player.networks) for player in game.players())
    folder.identity = RunIdentity(dataclasses.asdict(settings), "", start, images)
    with folder.owned():
        folder.check(resume=resume, overwrite=overwrite, inputs=inputs)
        if not resume:
            folder.make(overwrite=overwrite, inputs=inputs)
            folder.write_config(_record(settings, data, targets))
        progress = train(
            game, folder, settings, fabric.device.type,
            resume=resume, on_step=on_step or (lambda step, steps, terms: None),
        )  # fmt: skip
        summary = _write(folder, game, settings, progress)
        folder.write_summary(summary | {"seconds_of_this_call": round(time.monotonic() - started)})
    return summary


def _check_sources(name: str, data: str | Path | None, targets: str | Path | None) -> None:
    """Raise UserError where the images of a teacher are not named, or too many are."""
    if data is None:
        kind = "CIFAR-10, a tar or a folder" if name == "sngan" else "a folder of input images"
        raise UserError(f"name the images to train on: --data, {kind}")
    if name == "sngan" and targets is not None:
        raise UserError(f"sngan takes noise and learns from --data alone; leave out {targets}")
    if name != "sngan" and targets is None:
        raise UserError(f"name images of the kind that {name} is to make: --targets FOLDER")


def _set_up(
    settings: TeacherSettings, data: str | Path | None, targets: str | Path | None
) -> tuple[Game, Fabric, str]:
    """Return the game, the device it is on, and a digest of its images."""
    assert data is not None
    build, play = GAMES[settings.name]
    threads = settings.threads or best_threads()
    torch.manual_seed(settings.seed)
    generator = build(settings)
    frozen = copy.deepcopy(generator).eval().requires_grad_(False)
    example = dummy_inputs(spec_of(generator).contract, settings.size, like=frozen)
    run = Run(device=settings.device, precision=settings.precision, threads=threads)
    fabric = make_fabric(run, frozen, example)
    game, images = play(fabric, settings, generator, Path(data), targets)
    return game, fabric, images


def _sngan(
    fabric: Fabric, settings: TeacherSettings, generator: nn.Module, data: Path, targets: Any
) -> tuple[Game, str]:
    """Return the game of SNGAN on CIFAR-10, and a digest of its images."""
    pixels = read_cifar10(data).pixels
    return SnganGame(fabric, settings, generator, pixels), digest_of(pixels)


def _cyclegan(
    fabric: Fabric, settings: TeacherSettings, generator: nn.Module, data: Path, targets: Any
) -> tuple[Game, str]:
    """Return the game of CycleGAN, and a digest of its images."""
    a, b, images = _crops(settings, data, targets)
    back = build_cyclegan(settings)
    return CycleganGame(fabric, settings, generator, back, a, b), images


def _style(
    fabric: Fabric, settings: TeacherSettings, generator: nn.Module, data: Path, targets: Any
) -> tuple[Game, str]:
    """Return the game of adaptive style transfer, and a digest of its images."""
    photos, paintings, images = _crops(settings, data, targets)
    return StyleGame(fabric, settings, generator, photos, paintings), images


def _crops(
    settings: TeacherSettings, data: Path, targets: Path
) -> tuple[RandomCrops, RandomCrops, str]:
    """Open both folders of images; return them with a digest of their content."""
    pair = [
        open_crops(folder, settings.size, settings.batch_size, settings.seed, name)
        for folder, name in ((data, "data"), (targets, "targets"))
    ]
    return pair[0], pair[1], digest_of([crops.images.pixels for crops in pair])


GAMES: dict[str, tuple[Build, Play]] = {
    "sngan": (build_sngan, _sngan),
    "cyclegan": (build_cyclegan, _cyclegan),
    "adaptive-style": (build_style, _style),
}
"""Name -> (its generator with fresh weights, its game)."""


def _record(
    settings: TeacherSettings, data: str | Path | None, targets: str | Path | None
) -> dict[str, Any]:
    """Return what teacher.yaml says: settings, images, environment."""
    where = {"data": data, "targets": targets}
    paths = {key: str(Path(path).resolve()) if path else None for key, path in where.items()}
    return {"settings": dataclasses.asdict(settings), **paths, "environment": environment()}


def _write(
    folder: TeacherFolder, game: Game, settings: TeacherSettings, progress: Progress
) -> dict[str, Any]:
    """Write the trained networks; return the summary."""
    made = game.generators()
    generator = made["teacher"]
    provenance = {"trained": settings.name, "scale": settings.scale, "steps": progress.step}
    try:
        folder.write_generator(generator, provenance)
        for name, network in {**made, **game.discriminators()}.items():
            folder.write_network(name, network)
    except OSError as error:
        raise UserError(
            f"the networks in {folder} cannot be written ({system_reason(error)}); make room, then "
            f"go on with gan-slimming teacher {settings.name} --resume --output {folder}"
        ) from error
    cost = count(
        generator, dummy_inputs(spec_of(generator).contract, settings.size, like=generator)
    )
    files = {**made, **game.discriminators()}
    return {
        "name": settings.name,
        "scale": settings.scale,
        "steps": progress.step,
        "seconds": round(progress.stopwatch.seconds, 3),
        "macs": cost.macs,
        "parameters": cost.parameters,
        "generator": str(folder.generator),
        "networks": {name: str(folder.networks[name]) for name in files},
    }
