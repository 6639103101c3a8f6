"""The inputs of an evaluation: photos, lines of a table, frames, noise, or a dataset's items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from gan_slimming.config import InputContract
from gan_slimming.data.dataset import Dataset, DatasetItems, length_of
from gan_slimming.data.inputs import Inputs, item_of
from gan_slimming.data.latents import SAMPLE, latents_for
from gan_slimming.data.signal_folder import SignalFolder
from gan_slimming.data.table import read_table
from gan_slimming.data.table_lines import Line, check_columns
from gan_slimming.data.video import is_video
from gan_slimming.errors import UserError
from gan_slimming.evaluation.choice import Given
from gan_slimming.evaluation.images import (
    ImageFolder,
    as_image,
    held_out,
    open_images,
    partners,
    read_image,
)
from gan_slimming.evaluation.items import Items, frame_rate, read_frames
from gan_slimming.evaluation.subjects import Subject
from gan_slimming.serialization.run_folder import RunFolder

COUNT = 10_000
"""Default number of images from a generator of noise."""


def choose_items(
    subjects: Sequence[Subject], teachers: Sequence[Subject | None], given: Given
) -> Items:
    """Return the inputs of all models.

    Raises:
        UserError: inputs are missing, of the wrong kind, or fewer than two.
    """
    everyone = [s for s in (*subjects, *teachers) if s is not None]
    generators = [s for s in everyone if s.generator is not None]
    noisy = [s for s in generators if s.takes_noise]
    _check_used(given, generators, noisy)
    if any(s.takes_signals for s in generators):
        return _signals(generators, given)
    if given.dataset is not None:
        return _of_dataset(given.dataset, generators, given)
    if noisy:
        return _noise(noisy, generators, given)
    if given.data is not None and given.data.suffix.lower() == ".csv":
        return _lines(given.data, generators, given)
    if given.data is not None and is_video(given.data):
        return _frames(given.data)
    if given.data is not None:
        folder = open_images(given.data)
        if given.split == "held":
            folder = _held(folder, subjects)
        return _photos(folder, str(given.data), given.size)
    if generators:
        raise UserError(
            f"name the images that {generators[0].name} takes: --data FOLDER, or --dataset"
        )
    if given.split == "held":
        raise UserError("--split held picks from --data; give that folder")
    named = [s for s in (*teachers, *subjects) if s is not None and s.folder is not None]
    folder = named[0].folder
    assert folder is not None
    for other in named[1:]:
        if other.folder is not None:
            partners(folder.names, other.folder, named[0].name)
    return _photos(folder, named[0].name, None)


def _check_used(given: Given, generators: Sequence[Subject], noisy: Sequence[Subject]) -> None:
    """Raise UserError for a count or size that nothing would follow."""
    if given.count is not None and not noisy:
        raise UserError(
            f"--count {given.count} is the number of images from noise; for fewer images, put "
            "these into a folder and name it with --data"
        )
    if given.size is None or given.dataset is not None:
        return
    if noisy:
        raise UserError(f"{noisy[0].name} takes noise, so --size has no use")
    if not generators:
        raise UserError(
            "--size is for inputs of generators, and folders of images alone are judged"
        )
    if given.data is not None and is_video(given.data):
        raise UserError(f"--size is for images; the frames of {given.data} keep theirs")


def _noise(noisy: Sequence[Subject], generators: Sequence[Subject], given: Given) -> Items:
    if given.data is not None:
        raise UserError(
            f"{noisy[0].name} takes noise, so --data has no use; real images go to --targets"
        )
    contracts = [s.generator.contract for s in generators if s.generator is not None]
    if len({(c.latent_size, c.classes, c.extras) for c in contracts}) > 1:
        names = ", ".join(s.name for s in generators)
        raise UserError(f"models of one evaluation must take the same noise; got {names}")
    count = COUNT if given.count is None else given.count
    if count < 2:
        raise UserError(f"count must be at least 2, got {count}")
    latents = latents_for(contracts[0], count, given.seed, SAMPLE)
    names = tuple(f"{index:05d}" for index in range(count))
    return Items(names, f"noise of seed {given.seed}", read=partial(item_of, latents))


def _of_dataset(dataset: Dataset, generators: Sequence[Subject], given: Given) -> Items:
    """Return the items of a dataset, as the generators' contract has them."""
    if given.split == "held":
        raise UserError("--split held picks from --data; leave it out with --dataset")
    contract = _common(generators, "--dataset")
    count = length_of(dataset)
    if given.count is not None and contract.latent_size:
        count = min(count, given.count)
    if count < 2:
        raise UserError(f"the dataset has {count} item(s), at least 2 are needed")
    found = DatasetItems(dataset, contract, given.size, torch.arange(count))
    names = tuple(f"{index:05d}" for index in range(count))
    return Items(names, f"dataset {type(dataset).__name__}", read=found.item, size=given.size)


def _signals(generators: Sequence[Subject], given: Given) -> Items:
    """Return the signals of a folder, each whole or its windows of --size, or of a dataset."""
    if given.split == "held":
        raise UserError("--split held picks from a folder of images; leave it out for signals")
    contract = _common(generators, "--data")
    dataset, names = given.dataset, None
    if dataset is None:
        if given.data is None:
            raise UserError(f"name the signals that {generators[0].name} takes: --data FOLDER")
        dataset = SignalFolder(given.data, contract.channels, given.size)
        names = dataset.names
    plain = replace(contract, extras=()) if names else contract
    count = length_of(dataset)
    if count < 2:
        raise UserError(f"there is {count} signal, at least 2 are needed")
    found = DatasetItems(dataset, plain, given.size, torch.arange(count))
    names = names or tuple(f"{index:05d}" for index in range(count))
    label = str(given.data) if given.data is not None else f"dataset {type(dataset).__name__}"
    return Items(names, label, read=found.item, size=given.size)


def _lines(path: Path, generators: Sequence[Subject], given: Given) -> Items:
    """Return the lines of a CSV file, with the further inputs that the generators take."""
    if given.split == "held":
        raise UserError(f"--split held picks from a folder of images; got --data {path}")
    table = read_table(path)
    if len(table.rows) < 2:
        raise UserError(f"{path} names {len(table.rows)} image(s), at least 2 are needed")
    paths, size = tuple(table.images), given.size
    if not generators:
        return Items(table.names, str(path), paths=paths, size=size)
    extras = _common(generators, f"--data {path}").extras
    check_columns(table, extras)

    def read(index: int) -> Inputs:
        image = read_image(paths[index], size)
        sides = (image.shape[1], image.shape[2])
        others = Line(table, index).others(extras, sides, square=size is not None)
        return (as_image(image), *others)

    return Items(table.names, str(path), paths=paths, read=read, size=size)


def _common(generators: Sequence[Subject], source: str) -> InputContract:
    """Return the contract of all generators; raise UserError where their inputs differ."""
    contracts = [s.generator.contract for s in generators if s.generator is not None]
    if not contracts:
        raise UserError(f"{source} feeds generators, and folders of images alone are judged")
    taken = {(c.extras, c.channels, c.latent_size, c.classes) for c in contracts}
    if len(taken) > 1:
        names = ", ".join(s.name for s in generators)
        raise UserError(f"models of one evaluation must take the same inputs; got {names}")
    return contracts[0]


def _frames(video: Path) -> Items:
    if not video.is_file():
        raise UserError(f"no such video: {video}")
    total = sum(1 for _ in read_frames(video))
    if total < 2:
        raise UserError(f"{video} has {total} frame(s), at least 2 are needed")
    names = tuple(f"{index:05d}" for index in range(total))
    return Items(names, str(video), video=video, frames_per_second=frame_rate(video))


def _photos(folder: ImageFolder, label: str, size: int | None) -> Items:
    if len(folder.paths) < 2:
        raise UserError(f"{label}: at least 2 images are needed, got {len(folder.paths)}")
    _ = folder.by_name  # refuses ambiguous names
    return Items(folder.names, label, folder=folder, paths=folder.paths, size=size)


def _held(folder: ImageFolder, subjects: Sequence[Subject]) -> ImageFolder:
    """Return the images that the first run folder among the models held out of training."""
    runs = [subject.run for subject in subjects if subject.run is not None]
    if not runs:
        raise UserError("--split held needs a run folder, which says what it was not trained on")
    run, record = RunFolder(runs[0]).read_config()
    trained = record["data"]
    if trained is None or Path(trained) != folder.root.resolve():
        raise UserError(
            f"--split held picks from the folder that {runs[0]} was trained on ({trained}), "
            f"got --data {folder.root}; leave out --split for other images"
        )
    return held_out(folder, run.holdout)
