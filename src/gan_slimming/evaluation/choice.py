"""The choice of metrics and items for an evaluation, from the arguments given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gan_slimming.data.latents import SAMPLE, LatentSet
from gan_slimming.data.video import is_video
from gan_slimming.errors import UserError
from gan_slimming.evaluation.images import ImageFolder, held_out, open_images
from gan_slimming.evaluation.items import Items, frame_rate, read_frames
from gan_slimming.evaluation.subjects import Subject
from gan_slimming.evaluation.tools import TaskNetworks
from gan_slimming.metrics.catalogue import METRICS, Metric, find_metrics, missing_for
from gan_slimming.metrics.embedded_set import least_images
from gan_slimming.perceptual.embeddings import embedding_at_hand
from gan_slimming.perceptual.inception import FEATURES
from gan_slimming.serialization.run_folder import RunFolder

DIMENSIONS = {"inception": FEATURES, "squeezenet": 512, "classifier": 64}
KINDS = {
    "fid": "frechet",
    "frechet_classifier": "frechet",
    "classifier_score": "inception_score",
}
"""Metric -> its kind, where the name without its network does not tell."""
COUNT = 10_000
"""Default number of images from a generator of noise."""


class EvaluationWarning(UserWarning):
    """A warning that something was left out, or that a figure means less than it seems to."""


@dataclass(frozen=True)
class Given:
    """The data, references and settings of an evaluation."""

    data: Path | None = None
    """Folder of inputs, or a video."""
    targets: ImageFolder | None = None
    """Real images from the generator's target domain."""
    labels: ImageFolder | None = None
    """Label maps, named like the inputs."""
    teacher: Subject | None = None
    """The teacher of all models; None for the one of each run folder."""
    tasks: TaskNetworks = field(default_factory=TaskNetworks)
    size: int | None = None
    count: int | None = None
    seed: int = 0
    split: str = "all"
    """'all', or 'held': only the images that the run folder's training held out."""


def kind_of(metric: Metric) -> str:
    """Return the kind of a set metric: frechet, kid, precision, recall or inception_score."""
    return KINDS.get(metric.name, metric.name.removesuffix("_squeezenet"))


def choose_metrics(
    names: Sequence[str] | None, given: Given, teachers: Sequence[Subject | None]
) -> list[Metric]:
    """Return the requested metrics, or all default ones that `given` allows.

    Raises:
        UserError: a metric is unknown or has no reference; there is nothing to measure.
    """
    if names:
        chosen = find_metrics(names)
        for metric in chosen:
            if lacking := _lacking(metric, given, teachers):
                raise UserError(f"{metric.name} needs {lacking}")
            if metric.network is None and (missing := missing_for(metric)):
                raise UserError(f"{metric.name} needs {missing}")
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
            f"left out, because what they need is not on this machine: {', '.join(left)}; weights "
            "are downloaded for metrics that --metrics names, or read from the folder "
            "GAN_SLIMMING_WEIGHTS"
        )
    if not chosen:
        raise UserError(
            "there is nothing to compare with: give --teacher MODEL, --targets FOLDER of real "
            "images, or --class NAME"
        )
    return chosen


def _lacking(metric: Metric, given: Given, teachers: Sequence[Subject | None]) -> str | None:
    """Return the missing reference of a metric and the flag that gives it, or None."""
    if metric.needs in ("teacher", "frames") and not any(teachers):
        return "a teacher to compare with; give --teacher MODEL or a folder of its images"
    if metric.needs == "targets" and given.targets is None:
        return "real images to compare with; give --targets FOLDER"
    if metric.network == "classifier" and given.tasks.classifier is None:
        return "a classifier of CIFAR-10; give its weights with --classifier FILE"
    if metric.needs == "class" and given.tasks.target_class is None:
        return "the class that images should be taken for; give --class zebra or its number"
    if metric.needs == "labels" and (given.labels is None or given.tasks.segmenter is None):
        return "--segmenter package.module:factory and --labels FOLDER"
    return None


def check_counts(
    metrics: Sequence[Metric], images: int, targets: int | None, asked: bool
) -> list[Metric]:
    """Return the metrics for which there are enough images; warn if there are few.

    Raises:
        UserError: a requested metric would be meaningless.
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
        _warn(f"there are few images: {', '.join(weak)}; compare only with figures of equally many")
    return kept


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


def warn_of_training_images(subjects: Sequence[Subject], given: Given) -> None:
    """Warn if a model was trained on the same folder that it is judged on."""
    if given.data is None or given.split == "held":
        return
    for subject in subjects:
        if subject.run is None:
            continue
        trained = RunFolder(subject.run).read_config()[1]["data"]
        if trained and Path(trained) == given.data.resolve():
            _warn(
                f"{subject.name} was trained on images of {given.data}; take --split held to judge "
                "it on those that training held out"
            )


def _warn(text: str) -> None:
    warnings.warn(text, EvaluationWarning, stacklevel=4)
