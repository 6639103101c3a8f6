"""What can be judged with what is given: which metrics, on which items."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gan_slimming.data.latents import SAMPLE, LatentSet
from gan_slimming.data.video import is_video
from gan_slimming.errors import UserError
from gan_slimming.evaluation.images import ImageFolder, held_out, open_images
from gan_slimming.evaluation.items import Items, read_frames
from gan_slimming.evaluation.subjects import Subject
from gan_slimming.evaluation.tools import TaskNetworks
from gan_slimming.metrics.catalogue import METRICS, Metric, find_metrics, missing_for
from gan_slimming.metrics.embedded_set import least_images
from gan_slimming.perceptual.embeddings import embedding_at_hand
from gan_slimming.perceptual.inception import FEATURES
from gan_slimming.serialization.run_folder import RunFolder

DIMENSIONS = {"inception": FEATURES, "squeezenet": 512}
COUNT = 10_000
"""Images of a generator of noise, where nothing else is asked for."""


class EvaluationWarning(UserWarning):
    """Something was left out, or a figure means less than it seems to."""


@dataclass(frozen=True)
class Given:
    """What models are judged with."""

    data: Path | None = None
    """Folder of inputs, or a video."""
    targets: ImageFolder | None = None
    """Real images of the outputs' kind."""
    labels: ImageFolder | None = None
    """Label maps, with the inputs' names."""
    teacher: Subject | None = None
    """For all models."""
    tasks: TaskNetworks = field(default_factory=TaskNetworks)
    size: int | None = None
    count: int | None = None
    seed: int = 0
    split: str = "all"
    """all, or held: only images that the run folder's training never saw."""


def kind_of(metric: Metric) -> str:
    """Return frechet, kid, precision, recall or inception_score of a metric between sets."""
    return "frechet" if metric.name == "fid" else metric.name.removesuffix("_squeezenet")


def choose_metrics(
    names: Sequence[str] | None, given: Given, teachers: Sequence[Subject | None]
) -> list[Metric]:
    """Return the metrics that are asked for, or all usual ones that what is given allows.

    Raises:
        UserError: a metric is unknown or lacks what it compares with; there is nothing to measure.
    """
    if names:
        chosen = find_metrics(names)
        for metric in chosen:
            if lacking := _lacking(metric, given, teachers):
                raise UserError(f"{metric.name} needs {lacking}")
            if metric.name == "flip" and (missing := missing_for(metric)):
                raise UserError(f"flip needs {missing}; pip install 'gan-slimming[flip]'")
        return chosen
    family = "inception" if embedding_at_hand("inception", given.tasks.inception) else "squeezenet"
    video = given.data is not None and is_video(given.data)
    usual = [
        metric
        for metric in METRICS.values()
        if (metric.default or (metric.name == "flicker" and video))
        and _lacking(metric, given, teachers) is None
        and (metric.needs != "targets" or metric.network == family)
    ]
    chosen = [m for m in usual if missing_for(m, given.tasks.inception is not None) is None]
    if left := [f"{m.name} ({missing_for(m)})" for m in usual if m not in chosen]:
        _warn(
            f"left out, for want of what is not on this machine: {', '.join(left)}; weights are "
            "fetched for metrics that --metrics names, or read from the folder "
            "GAN_SLIMMING_WEIGHTS; FLIP needs pip install 'gan-slimming[flip]'"
        )
    if not chosen:
        raise UserError(
            "there is nothing to compare with: give --teacher MODEL, --targets FOLDER of real "
            "images, or --class NAME"
        )
    return chosen


def _lacking(metric: Metric, given: Given, teachers: Sequence[Subject | None]) -> str | None:
    """What a metric compares with and is not there, with the way to give it."""
    if metric.needs in ("teacher", "frames") and not any(teachers):
        return "a teacher to compare with; give --teacher MODEL or a folder of its images"
    if metric.needs == "targets" and given.targets is None:
        return "real images to compare with; give --targets FOLDER"
    if metric.needs == "class" and given.tasks.target_class is None:
        return "the class that images should be taken for; give --class zebra or its number"
    if metric.needs == "labels" and (given.labels is None or given.tasks.segmenter is None):
        return "--segmenter package.module:factory and --labels FOLDER"
    return None


def check_counts(
    metrics: Sequence[Metric], images: int, targets: int | None, asked: bool
) -> list[Metric]:
    """Return the metrics for which there are images enough; warn where there are few.

    Raises:
        UserError: a metric that was asked for would mean nothing.
    """
    kept, weak = [], []
    for metric in metrics:
        if metric.needs not in ("targets", "nothing"):
            kept.append(metric)
            continue
        assert metric.network is not None
        least, advised = least_images(kind_of(metric), DIMENSIONS[metric.network])
        fewest = images if targets is None or metric.needs == "nothing" else min(images, targets)
        if fewest < least:
            text = f"{metric.name} of {fewest} images means nothing, at least {least} are needed"
            if asked:
                raise UserError(f"{text}; give more, or take kid or precision and recall")
            _warn(f"{metric.name} is left out: {text}")
            continue
        if fewest < advised:
            effect = "is too large" if kind_of(metric) == "frechet" else "scatters widely"
            weak.append(f"{metric.name} {effect} below {advised:,}")
        kept.append(metric)
    if weak:
        _warn(f"there are few images: {', '.join(weak)}; compare only with figures of as many")
    return kept


def choose_items(
    subjects: Sequence[Subject], teachers: Sequence[Subject | None], given: Given
) -> Items:
    """Return what all models make images of.

    Raises:
        UserError: inputs are missing, of the wrong kind, or fewer than two.
    """
    everyone = [s for s in (*subjects, *teachers) if s is not None]
    generators = [s for s in everyone if s.generator is not None]
    noisy = [s for s in generators if s.takes_noise]
    if noisy:
        return _noise(noisy, generators, given)
    if given.data is not None and is_video(given.data):
        return _frames(given.data)
    if given.data is not None:
        folder = open_images(given.data)
        if given.split == "held":
            folder = _held(folder, subjects)
        return _photos(folder, str(given.data), given.size)
    if generators:
        raise UserError(f"name the images that {generators[0].name} takes: --data FOLDER")
    if given.split == "held":
        raise UserError("--split held picks from --data; give that folder")
    named = [s for s in (*teachers, *subjects) if s is not None and s.folder is not None]
    folder = named[0].folder
    assert folder is not None
    for other in named[1:]:
        if other.folder is not None and not set(folder.names) <= set(other.folder.names):
            raise UserError(
                f"{named[0].name} and {other.name} hold images of different names, so they cannot "
                "be judged together; judge one after the other, or name their inputs with --data"
            )
    return _photos(folder, named[0].name, None)


def _noise(noisy: Sequence[Subject], generators: Sequence[Subject], given: Given) -> Items:
    if given.data is not None:
        raise UserError(
            f"{noisy[0].name} takes noise, so --data has no use; real images go to --targets"
        )
    contracts = {s.generator.contract for s in generators if s.generator is not None}
    shapes = {(c.latent_size, c.classes) for c in contracts}
    if len(shapes) > 1:
        names = ", ".join(s.name for s in generators)
        raise UserError(f"models of one evaluation must take the same noise; got {names}")
    size, classes = shapes.pop()
    count = COUNT if given.count is None else given.count
    if count < 2:
        raise UserError(f"count must be at least 2, got {count}")
    latents = LatentSet(count, size, classes, given.seed, SAMPLE)
    names = tuple(f"{index:05d}" for index in range(count))
    return Items(names, f"noise of seed {given.seed}", latents=latents)


def _frames(video: Path) -> Items:
    if not video.is_file():
        raise UserError(f"no such video: {video}")
    total = sum(1 for _ in read_frames(video))
    if total < 2:
        raise UserError(f"{video} has {total} frame(s), at least 2 are needed")
    return Items(tuple(f"{index:05d}" for index in range(total)), str(video), video=video)


def _photos(folder: ImageFolder, label: str, size: int | None) -> Items:
    if len(folder.paths) < 2:
        raise UserError(f"{label}: at least 2 images are needed, got {len(folder.paths)}")
    _ = folder.by_name  # refuses names that are not clear
    return Items(folder.names, label, folder=folder, paths=folder.paths, size=size)


def _held(folder: ImageFolder, subjects: Sequence[Subject]) -> ImageFolder:
    """What the first run folder among the models held out of its training."""
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


def warn_of_training_images(subjects: Sequence[Subject], given: Given) -> None:
    """Warn where a model was trained on the very folder that it is judged on."""
    if given.data is None or given.split == "held":
        return
    for subject in subjects:
        if subject.run is None:
            continue
        trained = RunFolder(subject.run).read_config()[1]["data"]
        if trained and Path(trained) == given.data.resolve():
            _warn(
                f"{subject.name} was trained on images of {given.data}; take --split held to judge "
                "it on those that it never saw"
            )


def _warn(text: str) -> None:
    warnings.warn(text, EvaluationWarning, stacklevel=4)
