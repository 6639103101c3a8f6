"""The choice of metrics for an evaluation, from the arguments given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gan_slimming.data.dataset import Dataset
from gan_slimming.data.video import is_video
from gan_slimming.errors import UserError
from gan_slimming.evaluation.images import ImageFolder
from gan_slimming.evaluation.subjects import Subject
from gan_slimming.evaluation.tools import TaskNetworks
from gan_slimming.metrics.catalogue import METRICS, Metric, find_metrics, missing_for
from gan_slimming.metrics.embedded_set import least_images
from gan_slimming.perceptual.embeddings import embedding_at_hand
from gan_slimming.perceptual.inception import FEATURES
from gan_slimming.serialization.run_folder import RunFolder
from gan_slimming.serialization.shipped import shipped_names, shipped_record

DIMENSIONS = {"inception": FEATURES, "squeezenet": 512, "classifier": 64}
KINDS = {
    "fid": "frechet",
    "frechet_classifier": "frechet",
    "classifier_score": "inception_score",
}
"""Metric -> its kind, where the name without its network does not tell."""


class EvaluationWarning(UserWarning):
    """A warning that something was left out, or that a figure means less than it seems to."""


@dataclass(frozen=True)
class Given:
    """The data, references and settings of an evaluation."""

    data: Path | None = None
    """Folder of inputs, a CSV file that names them, or a video."""
    dataset: Dataset | None = None
    """The user's own inputs, instead of data."""
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
    names: Sequence[str] | None,
    given: Given,
    teachers: Sequence[Subject | None],
    *,
    signal: bool = False,
    lost: str = "",
) -> list[Metric]:
    """Return the requested metrics, or all default ones that `given` allows.

    Args:
        signal: whether waveforms are judged, and not images.
        lost: which teacher the models had, for the message where none is given.
    Raises:
        UserError: a metric is unknown, of another kind, or has no reference; nothing can be
            measured.
    """
    if names:
        chosen = find_metrics(names)
        for metric in chosen:
            _check_kind(metric, signal)
            if lacking := _lacking(metric, given, teachers):
                told = lost if metric.needs in ("teacher", "frames") else ""
                raise UserError(f"{metric.name} needs {lacking}{told}")
            if metric.network is None and (missing := missing_for(metric)):
                raise UserError(f"{metric.name} needs {missing}")
        return chosen
    family = "inception" if embedding_at_hand("inception", given.tasks.inception) else "squeezenet"
    video = given.data is not None and is_video(given.data)
    usual = [
        metric
        for metric in METRICS.values()
        if metric.of in ("both", "waveforms" if signal else "images")
        and (metric.default or (metric.name == "flicker" and video))
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
            f"images, or --class NAME{lost}"
        )
    return chosen


def teachers_told(subjects: Sequence[Subject]) -> str:
    """Return a clause that names the teachers of shipped models, which carry none; or ''."""
    records = [shipped_record(s.name) for s in subjects if s.name in shipped_names()]
    told = [
        f"{r.name} was made from {r.generator.partition('(')[0]}"
        + (f":{r.teacher['weights']}" if r.teacher.get("weights") else "")
        + f" ({r.origin.partition(';')[0]})"
        for r in records
    ]
    apart = "; judge them one by one, each with its own teacher" if len(told) > 1 else ""
    return f"; shipped models come without a teacher: {', '.join(told)}{apart}" if told else ""


def _check_kind(metric: Metric, signal: bool) -> None:
    """Raise UserError for a metric of images where waveforms are judged, or the reverse."""
    if metric.of == "both" or (metric.of == "waveforms") is signal:
        return
    fitting = [m.name for m in METRICS.values() if m.of in ("both", "waveforms")]
    way = f"; of waveforms take {', '.join(fitting)}" if signal else ", and images are judged"
    raise UserError(f"{metric.name} measures {metric.of}{way}")


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
        UserError: a requested metric would be meaningless, or none is left.
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
                raise UserError(f"{text}; {_advice(metric, fewest)}")
            _warn(f"{metric.name} is left out: {text}")
            continue
        if fewest < advised:
            effect = "is too large" if kind_of(metric) == "frechet" else "scatters widely"
            weak.append(f"{metric.name} {effect} below {advised:,}")
        kept.append(metric)
    if not kept:
        real = "" if targets is None else f" and {targets} real ones"
        raise UserError(f"nothing can be measured on {images} images{real}; give more")
    if weak:
        _warn(f"there are few images: {', '.join(weak)}; compare only with figures of equally many")
    return kept


def _advice(metric: Metric, images: int) -> str:
    """Return what to do where so few images say nothing by a metric."""
    kernel = metric.name.replace("frechet", "kid").replace("fid", "kid")
    if kernel == metric.name or kernel not in METRICS or images < least_images("kid", 0)[0]:
        return "give more"
    return f"give more, or take {kernel}"


def warn_of_training_images(subjects: Sequence[Subject], given: Given) -> None:
    """Warn if a model was trained on the same folder that it is judged on."""
    if given.data is None or given.split == "held":
        return
    for subject in subjects:
        if subject.run is None:
            continue
        trained = RunFolder(subject.run).read_config()[1]["data"]
        if trained and Path(trained) == given.data.resolve():
            way = "; take --split held to judge it on those that training held out"
            if subject.takes_signals or given.data.suffix.lower() == ".csv":
                way = ""  # these are not split again
            _warn(f"{subject.name} was trained on images of {given.data}{way}")


def _warn(text: str) -> None:
    warnings.warn(text, EvaluationWarning, stacklevel=4)
