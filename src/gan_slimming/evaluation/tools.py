"""The networks and functions of a list of metrics, loaded once for all models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_slimming.data.image_opening import open_image
from gan_slimming.errors import UserError
from gan_slimming.metrics.catalogue import Metric, Pairwise, pairwise
from gan_slimming.metrics.tasks import check_labels, class_index, classifier_size
from gan_slimming.models import load_generator
from gan_slimming.perceptual.embeddings import Embedding, load_embedding
from gan_slimming.perceptual.features import SqueezeNetFeatures, load_features
from gan_slimming.serialization.resolve import split_generator


@dataclass(frozen=True)
class TaskNetworks:
    """The user's choice of class, segmenter and weights."""

    target_class: str | None = None
    """Number or name of the class that the classifier should predict, such as zebra."""
    class_labels: Path | None = None
    """File of class names; None searches for it."""
    segmenter: str | None = None
    """package.module:factory[:WEIGHTS] of a segmentation network."""
    inception: Path | None = None
    """File of the Inception network; None searches for it."""
    classifier: Path | None = None
    """File of a classifier of CIFAR-10, for classifier_score and frechet_classifier."""
    download: bool = False
    """Whether missing weights may be downloaded."""


@dataclass
class Tools:
    """The loaded networks and functions; all take images (batch, 3, height, width) in [-1, 1]."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Device of the networks and of the images that they measure."""
    pairwise: dict[str, Pairwise] = field(default_factory=dict)
    """Metric -> function from images under test and references to values (batch,)."""
    embeddings: dict[str, Embedding] = field(default_factory=dict)
    """Network -> its embedding."""
    hits: Callable[[Tensor], Tensor] | None = None
    """Function from images to (batch,): 1 if the classifier predicts the class, else 0."""
    class_number: int | None = None
    segment: Callable[[Tensor], Tensor] | None = None
    """Function from images to class scores (batch, classes, h, w)."""


def load_tools(metrics: Sequence[Metric], device: torch.device, named: TaskNetworks) -> Tools:
    """Load the networks and functions of metrics.

    Raises:
        UserError: weights, a package, a class or a segmenter is missing.
    """
    tools = Tools(device)
    for metric in metrics:
        if metric.needs == "teacher":
            tools.pairwise[metric.name] = pairwise(metric.name, device, named.download)
        elif metric.needs in ("targets", "nothing") and metric.network not in tools.embeddings:
            assert metric.network is not None
            path = {"inception": named.inception, "classifier": named.classifier}.get(
                metric.network
            )
            tools.embeddings[metric.network] = load_embedding(
                metric.network, device, path, named.download
            )
        elif metric.needs == "class":
            _add_classifier(tools, device, named)
        elif metric.needs == "labels":
            tools.segment = _segmenter(named.segmenter, device)
    return tools


def _add_classifier(tools: Tools, device: torch.device, named: TaskNetworks) -> None:
    network = load_features("squeezenet", download=named.download)
    assert isinstance(network, SqueezeNetFeatures)
    assert named.target_class is not None
    number = class_index(named.target_class, 1000, named.class_labels)
    network.to(device)
    tools.class_number = number

    def hits(images: Tensor) -> Tensor:
        scores = network.logits(classifier_size((images.to(device) + 1) / 2))
        return (scores.argmax(dim=1) == number).double().cpu()

    tools.hits = hits


def _segmenter(text: str | None, device: torch.device) -> Callable[[Tensor], Tensor]:
    assert text is not None
    if ":" not in text:
        raise UserError(f"segmenter must be package.module:factory[:WEIGHTS], got {text!r}")
    name, weights = split_generator(text)
    try:
        network = load_generator(name, weights).to(device)
    except UserError as error:
        raise UserError(f"--segmenter {text} cannot be loaded: {error}") from error

    def segment(images: Tensor) -> Tensor:
        scores = network(images.to(device))
        if not isinstance(scores, Tensor) or scores.ndim != 4 or len(scores) != len(images):
            came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise UserError(f"segmenter {text} must make (batch, classes, h, w), got {came}")
        return scores.float()

    return segment


def read_label_map(path: Path, classes: int) -> Tensor:
    """Return a label map (height, width) int64: the numbers in the file, not palette colours.

    Raises:
        UserError: the file cannot be read, is no map of numbers, or holds unknown classes.
    """
    try:
        with open_image(path) as image:
            values = np.array(image)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the label map {path} ({error})") from error
    if values.ndim != 2:
        raise UserError(f"{path} is no label map: it has {values.ndim} dimensions, 2 are expected")
    labels = torch.from_numpy(values.astype(np.int64))
    check_labels(labels.unique().tolist(), classes, path)
    return labels
