"""The held-out images of a page: views, distances and ranks of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan_slimming.data.image_files import read_image
from gan_slimming.errors import UserError
from gan_slimming.metrics.distances import psnr
from gan_slimming.reports.images import AMPLIFIED, difference, encode, pixels_of
from gan_slimming.serialization.run_folder import RunFolder

DIFFERENCE = f"difference ×{AMPLIFIED}"
HIGHER_IS_NEARER = ("psnr", "ssim")
MEASURES = ("lpips", "flip", "psnr", "l1")
"""Distances to the teacher that can sort images."""


@dataclass(frozen=True)
class Sample:
    """A held-out image in all its views."""

    name: str
    """Label of the image."""
    views: Mapping[str, np.ndarray]
    """View, such as 'teacher' -> (height, width, 3) uint8 of equal sizes."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Distance -> its value."""


@dataclass(frozen=True)
class Shown:
    """A sample as the page holds it."""

    name: str
    """Label of the image."""
    urls: Mapping[str, str]
    """View -> data URL of the image."""
    figures: Mapping[str, float]
    """Distance -> its value."""
    ranks: Mapping[str, int]
    """Distance -> rank among all held-out images, 1 for the worst."""
    width: int
    """Width of every view in pixels."""
    height: int
    """Height of every view in pixels."""


@dataclass(frozen=True)
class Gallery:
    """The samples of a page."""

    views: Sequence[str]
    """Names of the views, in order."""
    shown: Sequence[Shown]
    """The samples, worst first."""
    measures: Sequence[str]
    """Distances that all samples have."""
    total: int
    """Number of measured held-out images, shown or not."""
    coding: str
    """Name of the images' encoding."""


def read_samples(
    folder: Path, held_out: Sequence[Mapping[str, Any]], warnings: list[str]
) -> list[Sample]:
    """Return the samples of a run folder; damaged ones are left out, with a warning.

    A sample is a file of images side by side, listed in its name: 00_input_teacher_student.
    """
    measured = {row["sample"]: row for row in held_out if row.get("sample")}
    samples = []
    for file in sorted((RunFolder(folder).samples).glob("*_teacher_student.png")):
        names = file.stem.split("_")[1:]
        try:
            strip = pixels_of(read_image(file).rgb)
        except UserError:
            warnings.append(f"samples/{file.name} cannot be read and is left out.")
            continue
        if strip.shape[1] % len(names):
            warnings.append(f"samples/{file.name} has another width and is left out.")
            continue
        views = dict(zip(names, np.split(strip, len(names), axis=1), strict=True))
        row = measured.get(file.name)
        figures = _figures(row) if row else _measured(views)
        views[DIFFERENCE] = difference(views["teacher"], views["student"])
        samples.append(Sample(row["name"] if row else file.stem.split("_")[0], views, figures))
    return samples


def gallery_of(
    samples: Sequence[Sample], held_out: Sequence[Mapping[str, Any]] = ()
) -> Gallery | None:
    """Return the gallery of samples, worst first; None if no sample fits into a page.

    Args:
        held_out: rows of all measured images, which define the ranks.
    """
    if not samples:
        return None
    views = list(samples[0].views)
    samples = [sample for sample in samples if list(sample.views) == views]
    measures = [m for m in MEASURES if all(m in sample.figures for sample in samples)]
    everything = [_figures(row) for row in held_out] or [sample.figures for sample in samples]
    if measures:
        samples = sorted(samples, key=lambda s: badness(measures[0], s.figures[measures[0]]))[::-1]
    order = _ends_first(len(samples))
    urls, coding = encode([list(samples[i].views.values()) for i in order])
    if not urls:
        return None
    places = dict(zip(order, urls, strict=False))
    shown = [
        _shown(samples[i], dict(zip(views, places[i], strict=True)), measures, everything)
        for i in sorted(places)
    ]
    return Gallery(views, shown, measures, len(everything), coding)


def badness(measure: str, value: float) -> float:
    """Return a number that grows with the distance to the teacher's image."""
    return -value if measure in HIGHER_IS_NEARER else value


def _shown(
    sample: Sample,
    urls: Mapping[str, str],
    measures: Sequence[str],
    everything: Sequence[Mapping[str, float]],
) -> Shown:
    ranks = {}
    for measure in measures:
        own = badness(measure, sample.figures[measure])
        others = [badness(measure, row[measure]) for row in everything if measure in row]
        ranks[measure] = 1 + sum(other > own for other in others)
    height, width = next(iter(sample.views.values())).shape[:2]
    return Shown(sample.name, urls, sample.figures, ranks, width, height)


def _ends_first(count: int) -> list[int]:
    """Return 0, count - 1, 1, count - 2, ..., so that a cut at the end drops the middle ones."""
    pairs = zip(range(count), reversed(range(count)), strict=True)
    return list(dict.fromkeys(i for pair in pairs for i in pair))


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    return {m: float(row[m]) for m in MEASURES if isinstance(row.get(m), int | float)}


def _measured(views: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the PSNR in dB of a sample that the run did not measure."""
    pair = [
        torch.from_numpy(views[name].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        for name in ("student", "teacher")
    ]
    return {"psnr": float(psnr(*pair).clamp(max=100))}
