"""The figures of an evaluation, each with its interval and protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_slimming.evaluation.choice import Given, kind_of
from gan_slimming.evaluation.items import Items
from gan_slimming.evaluation.passes import Contestant
from gan_slimming.evaluation.results import row_of
from gan_slimming.evaluation.tools import Tools
from gan_slimming.metrics.bootstrap import LEVEL, RESAMPLES, bootstrap_interval
from gan_slimming.metrics.catalogue import Metric, resize_rule
from gan_slimming.metrics.cvvdp import CLIP, DISPLAY
from gan_slimming.metrics.embedded_set import EmbeddedSet, Figure, compare_sets
from gan_slimming.metrics.tasks import CLASSIFIER_SIDE, mean_iou


@dataclass(frozen=True)
class Measured:
    """The inputs and references that all models share."""

    items: Items
    given: Given
    tools: Tools
    real: dict[str, EmbeddedSet]
    """Features of real images, by network."""
    images: int
    """Number of readable items."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(name, reason) of the unreadable items."""
    waveforms: bool = False
    """Whether the outputs are waveforms."""

    def protocol(self) -> dict[str, Any]:
        """Return the settings that another evaluation needs to reproduce the figures."""
        size = self.items.size
        resize = "none" if size is None else f"central square to {size}x{size}, Lanczos"
        return {
            "data": self.items.label,
            "split": self.given.split,
            "input_resize": resize,
            "outputs": "clipped" if self.waveforms else "clipped and rounded to 8 bits",
            "seed": self.given.seed,
            "interval_level": LEVEL,
        }


def rows_of(
    contestant: Contestant, metrics: Sequence[Metric], measured: Measured
) -> list[dict[str, Any]]:
    """Return a model's rows in the order of the metrics, without those that lack a teacher."""
    rows = []
    for metric in metrics:
        if metric.needs in ("targets", "nothing"):
            rows.append(_set_row(contestant, metric, measured))
        elif metric.name in contestant.scores.metrics:
            rows.append(_image_row(contestant, metric, measured))
    return rows


def _image_row(contestant: Contestant, metric: Metric, measured: Measured) -> dict[str, Any]:
    """Return the row of a metric with a value for each image."""
    values = contestant.scores.values(metric.name)
    statistic = mean_iou if metric.name == "mean_iou" else _only
    seed = measured.given.seed
    low, high = bootstrap_interval(values, statistic, seed=seed)
    value = statistic(values.reshape(len(values), -1).mean(axis=0))
    how = {
        "resize": resize_rule(metric),
        "interval": f"percentile bootstrap over images, {RESAMPLES} draws",
    }
    if metric.needs in ("teacher", "frames"):
        assert contestant.teacher is not None
        how["against"] = contestant.teacher.name
        if metric.name == "cvvdp":
            clips = f"clips of {CLIP} frames"
            how["interval"] = f"percentile bootstrap over {clips}, {RESAMPLES} draws"
            how["display"] = f"{DISPLAY}, {measured.items.frames_per_second:g} frames per second"
    elif metric.needs == "class":
        how["resize"] = f"none; below {CLASSIFIER_SIDE} pixels a side enlarged to that, bilinear"
        how["classifier"] = "squeezenet"
        how["class"] = f"{measured.given.tasks.target_class} ({measured.tools.class_number})"
    elif metric.needs == "labels":
        assert measured.given.labels is not None
        how["segmenter"] = str(measured.given.tasks.segmenter)
        how["against"] = str(measured.given.labels.root)
    figure = {"value": value, "low": low, "high": high, "images": len(values)}
    return row_of(contestant.subject.name, metric.name, figure, measured.protocol() | how)


def _only(means: np.ndarray) -> float:
    return float(means[0])


def _set_row(contestant: Contestant, metric: Metric, measured: Measured) -> dict[str, Any]:
    """Return the row of a metric of all images together."""
    assert metric.network is not None
    embedding = measured.tools.embeddings[metric.network]
    real = measured.real[metric.network] if metric.needs == "targets" else None
    seed = measured.given.seed
    found: Figure = compare_sets(
        kind_of(metric), contestant.scores.sets[metric.network], real, seed
    )
    how: dict[str, Any] = {
        "features": metric.network,
        "features_sha256": embedding.weights_sha256,
        "resize": embedding.resize,
        "interval": found.interval,
    }
    if real is not None and measured.given.targets is not None:
        how |= {"against": str(measured.given.targets.root), "real_images": real.count}
    if found.note:
        how["note"] = found.note
    figure = {"value": found.value, "low": found.low, "high": found.high, "images": found.images}
    if found.spread is not None:
        figure["spread"] = found.spread
    return row_of(contestant.subject.name, metric.name, figure, measured.protocol() | how)
