"""The distance of a generator to its teacher, on inputs that training never sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.data.image_files import write_image
from gan_slimming.data.inputs import Generate, Inputs, InputSet, enlarged
from gan_slimming.metrics.distances import psnr
from gan_slimming.metrics.flip import Measure
from gan_slimming.perceptual.lpips import lpips_at_hand

LPIPS_SIDE = 64
"""Pixels a side to which smaller images are enlarged before LPIPS measures them."""
MAX_PSNR = 100.0
"""dB, where two images are equal."""


class Tracker:
    """Means over held-out inputs, each at the size of training.

    Images are clipped to [-1, 1] first, as they are when they are written. psnr in dB (higher is
    nearer, MAX_PSNR at most), l1 in [0, 2], and lpips (SqueezeNet, v0.1; lower is nearer) where its
    weights are at hand.
    """

    def __init__(self, held: InputSet, teacher: Generate, device: torch.device):
        self.held = held
        self.device = device
        self.teacher = teacher
        self.lpips = lpips_at_hand()
        if self.lpips is not None:
            self.lpips.to(device)
        self._references: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, generate: Generate, most: int | None = None) -> dict[str, float]:
        """Return mean distances to the teacher, on the first `most` held-out inputs or on all."""
        rows = self.each(generate, most)
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

    @torch.no_grad()
    def each(
        self, generate: Generate, most: int | None = None, more: Mapping[str, Measure] | None = None
    ) -> list[dict[str, float]]:
        """Return the distances of every held-out input, and those of further measures, by name."""
        rows = []
        for batch, reference in self.answers(most):
            made = generate(*batch).clamp(-1, 1)
            row = {
                "psnr": psnr(made, reference).clamp(max=MAX_PSNR),
                "l1": (made - reference).abs().mean(),
            }
            if self.lpips is not None:
                pair = (enlarged(image, LPIPS_SIDE) for image in (made, reference))
                row["lpips"] = self.lpips(*pair)
            row |= {name: measure(made, reference) for name, measure in (more or {}).items()}
            rows.append({name: float(value.mean()) for name, value in row.items()})
        return rows

    @property
    def names(self) -> list[str]:
        """The name of each held-out input: its file's, or the number of its noise."""
        paths = getattr(self.held, "paths", None)
        if paths is not None:
            return [path.name for path in paths]
        return [f"noise {i}" for i in range(len(self.held))]

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
        """Return (input image, teacher's image) of held-out inputs, where they are images."""
        return [(batch[0], reference) for batch, reference in self.answers(most)]

    @torch.no_grad()
    def write_samples(
        self, generate: Generate, folder: Path, chosen: int | Sequence[int]
    ) -> list[str]:
        """Write rows of images as PNG: the input, where it is one, the teacher's and the student's.

        A smaller input is shown as large as the output, its pixels as squares.

        Args:
            chosen: indices of held-out inputs, or how many of the first.
        Returns:
            The files' names.
        """
        folder.mkdir(exist_ok=True)
        answers, names = self.answers(), []
        indices = range(min(chosen, len(answers))) if isinstance(chosen, int) else chosen
        for i in indices:
            batch, reference = answers[i]
            shown = [F.interpolate(x, reference.shape[-2:]) for x in batch if x.ndim == 4]
            row = torch.cat([*shown, reference, generate(*batch)], dim=3)[0]
            name = f"{i:02d}_{'input_' if shown else ''}teacher_student.png"
            write_image(folder / name, row.float().cpu())
            names.append(name)
        return names
