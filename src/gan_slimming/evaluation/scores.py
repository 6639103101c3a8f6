"""Scores of one model, gathered in one pass over the items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_slimming.errors import UserError
from gan_slimming.evaluation.tools import Tools, read_label_map
from gan_slimming.metrics.catalogue import Metric
from gan_slimming.metrics.cvvdp import VideoQuality
from gan_slimming.metrics.embedded_set import EmbeddedSet
from gan_slimming.metrics.tasks import flicker, overlap


class Scores:
    """The values of each image and the sets of features of one model.

    Args:
        name: the model's, for messages.
        metrics: the metrics to measure.
        tools: the networks and functions of these metrics.
        networks: feature networks to run during the pass.
        labels: the label map of each item, if there are any.
        seed: of feature samples.
        frames_per_second: rate of the frames, for cvvdp.
        names: of the items, for messages.
    """

    def __init__(
        self,
        name: str,
        metrics: Sequence[Metric],
        tools: Tools,
        networks: Sequence[str] = (),
        labels: Sequence[Path] = (),
        seed: int = 0,
        frames_per_second: float = 30.0,
        names: Sequence[str] = (),
    ) -> None:
        self.name, self.tools, self.labels, self.names = name, tools, labels, names
        self.metrics = {metric.name: metric for metric in metrics}
        self.sets = {network: self.empty_set(network, seed) for network in networks}
        self._values: dict[str, list[Tensor]] = {}
        self._last: tuple[Tensor, Tensor] | None = None
        self._video: VideoQuality | None = None
        if "cvvdp" in self.metrics:
            self._video = VideoQuality(frames_per_second, tools.device)
        self.count = 0

    def empty_set(self, network: str, seed: int = 0) -> EmbeddedSet:
        """Return an empty set for the features of a network."""
        found = self.tools.embeddings[network]
        return EmbeddedSet(found.dimensions, found.classes, seed)

    @torch.inference_mode()
    def add(self, indices: Sequence[int], made: Tensor, reference: Tensor | None) -> None:
        """Measure a batch of images.

        Args:
            indices: positions of their items.
            made: the model's images, (batch, 3, height, width) RGB in [-1, 1].
            reference: the teacher's images, likewise; None without a teacher.
        Raises:
            UserError: the images of model and teacher differ in size, or are too small.
        """
        self.count += len(indices)
        made = made.to(self.tools.device)
        if reference is not None:
            try:
                self._add_compared(made, reference.to(self.tools.device))
            except UserError as error:
                name = self.names[indices[0]] if self.names else indices[0]
                raise UserError(f"image {name}: {error}") from error
        for network, found in self.sets.items():
            found.update(*self.tools.embeddings[network].run(made))
        if "class_rate" in self.metrics and self.tools.hits is not None:
            self._keep("class_rate", self.tools.hits(made))
        if "mean_iou" in self.metrics and self.tools.segment is not None:
            scores = self.tools.segment(made)
            maps = [read_label_map(self.labels[i], scores.shape[1]) for i in indices]
            for of_image, labels in zip(scores, maps, strict=True):
                rows = overlap(of_image[None], labels[None].to(of_image.device))
                self._keep("mean_iou", rows.flatten(1))

    def _add_compared(self, made: Tensor, reference: Tensor) -> None:
        if made.shape != reference.shape:
            sizes = " and ".join(f"{x.shape[-1]}x{x.shape[-2]}" for x in (made, reference))
            raise UserError(
                f"images of {self.name} and of the teacher differ in size ({sizes}, width x "
                "height); compare images of equal sizes"
            )
        for name, measure in self.tools.pairwise.items():
            if name in self.metrics:
                self._keep(name, measure(made, reference))
        if {"flicker", "cvvdp"} & self.metrics.keys():
            self._add_frames(made, reference)

    def _add_frames(self, made: Tensor, reference: Tensor) -> None:
        frames = [made, reference]
        if self._last is not None:
            if self._last[0].shape[1:] != made.shape[1:]:
                raise UserError(
                    f"flicker and cvvdp need frames of one size; those of {self.name} differ; "
                    "leave them out of --metrics, or judge a folder whose images are a video's"
                )
            frames = [torch.cat(pair) for pair in zip(self._last, frames, strict=True)]
        self._last = (made[-1:], reference[-1:])
        if "flicker" in self.metrics:
            self._keep("flicker", flicker(frames[0], frames[1]))
        if self._video is not None:
            self._keep("cvvdp", self._video.add(made, reference))

    def _keep(self, name: str, values: Tensor) -> None:
        self._values.setdefault(name, []).append(values.detach().cpu().double())

    def values(self, name: str) -> np.ndarray:
        """Return a metric's values, (images,) or (images, columns) float64; empty if unmeasured."""
        if name == "cvvdp" and self._video is not None:
            self._keep(name, self._video.rest())
        parts = self._values.get(name)
        return torch.cat(parts).numpy() if parts else np.zeros(0)
