"""One image of any size through a generator: whole, or in tiles; refused before memory runs out."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.data.free_memory import free_bytes
from gan_slimming.data.image_files import ImageError
from gan_slimming.data.inputs import Inputs
from gan_slimming.data.padding import is_out_of_memory, run_padded
from gan_slimming.data.tiles import check_tile, reach_of, run_tiled
from gan_slimming.errors import UserError
from gan_slimming.metrics.activation_memory import peak_activation_bytes

_LARGE = 2**20
"""Pixels from which on the need of memory is predicted."""
_TRIAL = 96
"""Side in pixels of the image whose need is measured."""
_MARGIN = 1.2
"""What a forward pass needs over its activations: the buffers of kernels, and the image itself."""
_SUGGESTED = 512
"""Tile in pixels that an error suggests."""


class ImageRunner:
    """A generator for images of any size.

    Args:
        generator: maps RGB in [-1, 1] to the same.
        device: where it lies.
        tile: side of tiles in pixels, for images larger than that; None takes each image whole.
    Raises:
        UserError: the generator cannot be tiled.
    """

    def __init__(
        self, generator: GeneratorAdapter, device: torch.device, tile: int | None = None
    ) -> None:
        self.generator, self.device, self.tile = generator, device, tile
        self._reach = 0 if tile is None else check_tile(tile, reach_of(generator, device))

    def __call__(self, rgb: Tensor, source: Path, others: Inputs = ()) -> Tensor:
        """Return the image (3, scale * height, scale * width) on the CPU.

        Args:
            rgb: (3, height, width) RGB in [-1, 1].
            source: the image's file, for the error.
            others: further inputs, without a batch axis; none draws fixed ones.
        Raises:
            ImageError: the generator does not take it, or memory does not suffice.
        """
        image = rgb[None].to(self.device)
        try:
            if self.tile is not None and max(rgb.shape[-2:]) > self.tile:
                return run_tiled(self.generator, image, self.tile, self._reach)[0]
            self._check_memory(rgb, source)
            further = (x[None].to(self.device) for x in others)
            return run_padded(self.generator, image, *further)[0].cpu()
        except ImageError:
            raise
        except UserError as error:
            raise ImageError(source, str(error), "translate") from error
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ImageError(source, self._too_large(rgb, ""), "translate") from error

    def _check_memory(self, rgb: Tensor, source: Path) -> None:
        """Raise ImageError for a large image that needs more memory than is free."""
        pixels = rgb.shape[-2] * rgb.shape[-1]
        free = free_bytes(self.device) if pixels >= _LARGE else None
        if free is None:
            return
        need = self._bytes_per_pixel * pixels * _MARGIN
        if need > free:
            said = f": it takes about {need / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
            raise ImageError(source, self._too_large(rgb, said), "translate")

    @cached_property
    def _bytes_per_pixel(self) -> float:
        """Return the peak of the activations per pixel of the input."""
        side = self.generator.contract.next_side(_TRIAL)
        image = torch.zeros(1, 3, side, side, device=self.device)
        return peak_activation_bytes(self.generator, (image,)) / side**2

    def _too_large(self, rgb: Tensor, said: str) -> str:
        height, width = rgb.shape[-2:]
        ways = ["scale it down"]
        if self.tile is None and self._may_be_tiled():
            ways.insert(0, f"take --tile {_SUGGESTED}")
        if self.device.type != "cpu":
            ways.append("take --device cpu")
        return f"not enough memory for {width}x{height} pixels{said}; {' or '.join(ways)}"

    def _may_be_tiled(self) -> bool:
        try:
            return reach_of(self.generator, self.device) is not None
        except (UserError, RuntimeError, MemoryError):  # even the trial is too much
            return False
