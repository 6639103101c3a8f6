"""ColorVideoVDP (Mantiuk et al. 2024): visible differences of videos, by the authors' package.

The package is cvvdp on PyPI. It needs torchvision, which is why no extra installs it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from gan_slimming.errors import UserError

CLIP = 30
"""Frames in one value: a second of most videos, so that memory does not grow with the video."""
DISPLAY = "standard_4k"
"""The package's model of the display: 30 inches, seen from two screen heights, 75 pixels/degree."""
LEVELS = 127.5
"""8-bit levels in one unit of [-1, 1]."""


def cvvdp_installed() -> bool:
    """Return whether cvvdp and torchvision are installed."""
    return all(find_spec(name) is not None for name in ("pycvvdp", "torchvision"))


class VideoQuality:
    """Frames of a video and of its reference, gathered to clips.

    Args:
        frames_per_second: rate of the video.
        device: the device of the metric.
    Raises:
        UserError: cvvdp is not installed.
    """

    def __init__(self, frames_per_second: float, device: torch.device) -> None:
        if not cvvdp_installed():
            raise UserError("cvvdp needs packages; pip install cvvdp torchvision")
        package = import_module("pycvvdp")
        self.frames_per_second = frames_per_second
        self._metric = package.cvvdp(display_name=DISPLAY, quiet=True, device=device)
        self._frames: list[tuple[Tensor, Tensor]] = []
        self._clips = 0

    def add(self, made: Tensor, reference: Tensor) -> Tensor:
        """Return the quality (clips,) of the clips that these frames complete.

        Args:
            made, reference: (frames, 3, height, width) RGB in [-1, 1], the next ones of the video.
        Returns:
            JODs, just-objectionable differences: 10 for equal clips, 1 less where three of four
            people see the difference.
        """
        values = []
        for pair in zip(_bytes(made), _bytes(reference), strict=True):
            self._frames.append(pair)
            if len(self._frames) == CLIP:
                values.append(self._quality())
        return torch.tensor(values, dtype=torch.float64)

    def rest(self) -> Tensor:
        """Return the quality of the last frames, (1,), or (0,) where they are under half a clip."""
        if not self._frames or (self._clips and len(self._frames) < CLIP // 2):
            self._frames = []
            return torch.zeros(0, dtype=torch.float64)
        return torch.tensor([self._quality()], dtype=torch.float64)

    def _quality(self) -> float:
        made, reference = (torch.stack(frames) for frames in zip(*self._frames, strict=True))
        self._frames, self._clips = [], self._clips + 1
        quality, _ = self._metric.predict(
            made, reference, dim_order="FCHW", frames_per_second=self.frames_per_second
        )
        return float(quality)


def _bytes(frames: Tensor) -> Tensor:
    return ((frames.clamp(-1, 1) + 1) * LEVELS).round().to(torch.uint8).cpu()
