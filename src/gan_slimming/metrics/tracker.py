"""The distance of a generator to its teacher, on held-out inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.data.image_files import write_image
from gan_slimming.data.inputs import Generate, Inputs, InputSet
from gan_slimming.metrics.catalogue import Pairwise, on_features, pairwise
from gan_slimming.metrics.distances import SSIM_WINDOW
from gan_slimming.metrics.dots import BLOCKS
from gan_slimming.metrics.flip import flip_installed
from gan_slimming.metrics.verdict import verdict
from gan_slimming.perceptual.lpips import lpips_at_hand
from gan_slimming.perceptual.spectral import picture

FINAL = {"ssim": SSIM_WINDOW, "colour": 1, "dots": BLOCKS[-1], "flip": 1}
"""Metrics measured only at the end -> smallest side in pixels that each needs."""
DAMAGED = 16
"""Number of the teacher's images that the verdict damages."""
Row = dict[str, float]
"""Metric -> value, of one image or as a mean."""


class Tracker:
    """A tracker of metrics on held-out inputs at the training size.

    Images are clipped to [-1, 1] first, as when written. During training it measures psnr in dB,
    l1 in [0, 2], and lpips if its weights are on this machine; at the end also FINAL. Values equal
    those of `evaluate` except for its rounding of images to 8 bits. Of waveforms, clipped likewise,
    it measures psnr, l1 and spectral.
    """

    def __init__(
        self, held: InputSet, teacher: Generate, device: torch.device, *, signal: bool = False
    ):
        self.held, self.signal = held, signal
        self.device = device
        self.teacher = teacher
        self.lpips = None if signal else lpips_at_hand()
        if self.lpips is not None:
            self.lpips.to(device)
        self._references: list[Tensor] = []

    def __call__(self, generate: Generate, most: int | None = None) -> Row:
        """Return mean distances to the teacher, on the first `most` held-out inputs or on all."""
        return means(self._rows(generate, self._measures(), most))

    def judge(self, generate: Generate, metric: str | None = None) -> Row:
        """Return mean distances on all held-out inputs, with one more metric if it is not there."""
        measures = self._measures()
        if metric is not None and metric not in measures:
            measures[metric] = pairwise(metric, self.device, download=False)
        return means(self._rows(generate, measures, None))

    def each(self, generate: Generate) -> list[Row]:
        """Return all distances of every held-out input, those of FINAL included."""
        return self._rows(generate, self._measures() | self._final_measures(), None)

    def verdict(self, rows: Sequence[Row]) -> str:
        """Return one sentence on the distance of these rows' images to the teacher."""
        name = "spectral" if self.signal else "lpips" if self.lpips is not None else "psnr"
        references = [reference[0] for _, reference in self.answers(DAMAGED)]
        value = means(rows[:DAMAGED])[name]  # on the same images as its yardstick
        return verdict(name, value, references, self._measures()[name])

    @property
    def names(self) -> list[str]:
        """Return the name of each held-out input: its file's, or the number of noise or item."""
        paths = getattr(self.held, "paths", None)
        if paths is not None:
            return [path.name for path in paths]
        return [self.held.name(i) for i in range(len(self.held))]

    @torch.no_grad()
    def answers(self, most: int | None = None) -> list[tuple[Inputs, Tensor]]:
        """Return held-out inputs, each with the teacher's image (1, 3, side, side)."""
        straight = torch.zeros(1, dtype=torch.int64)
        held = [
            tuple(x.to(self.device) for x in self.held.batch(torch.tensor([i]), straight))
            for i in range(len(self.held) if most is None else min(most, len(self.held)))
        ]
        for batch in held[len(self._references) :]:
            self._references.append(self.teacher(*batch).clamp(-1, 1))
        return list(zip(held, self._references, strict=False))

    def pairs(self, most: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return (input image, teacher's image) of held-out inputs that are images."""
        return [(batch[0], reference) for batch, reference in self.answers(most)]

    @torch.no_grad()
    def write_samples(
        self, generate: Generate, folder: Path, chosen: int | Sequence[int]
    ) -> list[str]:
        """Write rows of images as PNG: the input if it is an image, the teacher's, the student's.

        A smaller input is enlarged to the size of the output, nearest neighbour. Of waveforms their
        spectrograms are shown.

        Args:
            chosen: indices of held-out inputs, or the number of first ones.
        Returns:
            The file names.
        """
        folder.mkdir(exist_ok=True)
        answers, names = self.answers(), []
        indices = range(min(chosen, len(answers))) if isinstance(chosen, int) else chosen
        for i in indices:
            batch, reference = answers[i]
            shown = [
                F.interpolate(x, reference.shape[-2:])
                for x in batch
                if x.ndim == 4 and x.shape[1] == 3
            ]
            made = (reference, generate(*batch))
            made = tuple(picture(x.float()) for x in made) if self.signal else made
            row = torch.cat([*shown, *made], dim=3)[0]
            name = f"{i:02d}_{'input_' if shown else ''}teacher_student.png"
            write_image(folder / name, row.float().cpu())
            names.append(name)
        return names

    @torch.no_grad()
    def _rows(
        self, generate: Generate, measures: dict[str, Pairwise], most: int | None
    ) -> list[Row]:
        rows = []
        for batch, reference in self.answers(most):
            made = generate(*batch).clamp(-1, 1)
            rows.append({name: float(f(made, reference).mean()) for name, f in measures.items()})
        return rows

    def _measures(self) -> dict[str, Pairwise]:
        """Return the metrics of every measurement."""
        names = ("psnr", "l1", "spectral") if self.signal else ("psnr", "l1")
        measures = {name: pairwise(name, self.device, download=False) for name in names}
        return measures | ({} if self.lpips is None else {"lpips": on_features(self.lpips)})

    def _final_measures(self) -> dict[str, Pairwise]:
        """Return the metrics of FINAL that are installed and fit the size of the images."""
        if self.signal:
            return {}
        side = min(self.answers(1)[0][1].shape[-2:])
        names = [name for name, least in FINAL.items() if side >= least]
        names = [name for name in names if name != "flip" or flip_installed()]
        return {name: pairwise(name, self.device, download=False) for name in names}


def means(rows: Sequence[Row]) -> Row:
    """Return the mean of each metric over the rows."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
