"""The teacher's first layers as a feature network, without a download.

An image-to-image generator begins with an encoder, trained on images of its domain. Its features
replace VGG's where no weights are available. This departs from Wang et al. 2020, who take VGG-16
(eq. 4).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from gan_slimming.data.inputs import Inputs

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _Enough(Exception):
    """A signal that all wanted feature maps are recorded, so that the network need not run on."""


class EncoderFeatures(nn.Module):
    """A feature network of a generator's first convolutions.

    Args:
        generator: an image-to-image generator; copied and frozen.
        to_input: makes the generator's inputs of RGB images in [-1, 1].
        depth: number of convolutions, in order of execution.
    """

    def __init__(self, generator: nn.Module, to_input: Callable[[Tensor], Inputs], depth: int = 5):
        super().__init__()
        self.generator = copy.deepcopy(generator).requires_grad_(False)
        self.generator.eval()
        self.to_input = to_input
        self.depth = depth
        self._maps: dict[str, Tensor] = {}
        for name, layer in self.generator.named_modules():
            if isinstance(layer, CONVOLUTIONS):
                layer.register_forward_hook(self._recorder(name))

    def train(self, mode: bool = True) -> EncoderFeatures:
        """Stay in evaluation mode, whatever `mode` is."""
        return super().train(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return `depth` maps, shallowest first, of images (batch, 3, h, w), RGB in [0, 1]."""
        self._maps = {}
        with suppress(_Enough):
            self.generator(*self.to_input(images * 2 - 1))
        maps, self._maps = self._maps, {}
        return maps

    def _recorder(self, name: str) -> Any:
        def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._maps[name] = output
            if len(self._maps) == self.depth:
                raise _Enough

        return record
