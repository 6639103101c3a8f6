"""LPIPS: the learned perceptual distance of Zhang et al. 2018, v0.1 on SqueezeNet 1.1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from gan_slimming.config import UserError
from gan_slimming.perceptual.features import SqueezeNetFeatures, load_features
from gan_slimming.perceptual.unit_distance import EPSILON, unit_distance
from gan_slimming.perceptual.weights import SOURCES, load_weights


class Lpips(nn.Module):
    """d(a, b) = sum over layers of the mean over positions of w . (a^ - b^)^2.

    a^, b^: feature vectors scaled to length one; w: one weight per channel, not negative. Pictures
    are RGB in [-1, 1]. The original's scaling layer, (x - shift) / scale with shift (-.030, -.088,
    -.188) and scale (.458, .448, .450), is exactly ImageNet's normalisation of (x + 1) / 2, which
    the features apply. Frozen, differentiable in both pictures, computed in float32 behind the
    features.
    """

    def __init__(self, features: SqueezeNetFeatures, linear: Mapping[str, Tensor]) -> None:
        """`linear`: 'lin0.model.1.weight' to 'lin6.model.1.weight', each (1, channels, 1, 1)."""
        super().__init__()
        self.features = features
        for layer, channels in enumerate(features.channels):
            name = f"lin{layer}.model.1.weight"
            if name not in linear or linear[name].shape != (1, channels, 1, 1):
                came = tuple(linear[name].shape) if name in linear else "nothing"
                raise UserError(
                    f"LPIPS weights must hold {name!r} of shape {(1, channels, 1, 1)}, got {came}; "
                    f"give the file of {SOURCES['lpips'].url}"
                )
            self.register_buffer(f"weight{layer}", linear[name].detach().clone())
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two batches of pictures (batch, 3, height, width) in [-1, 1] to distances (batch,)."""
        of_first = self.features((first + 1) / 2).values()
        of_second = self.features((second + 1) / 2).values()
        distances: list[Tensor] = []
        for layer, (a, b) in enumerate(zip(of_first, of_second, strict=True)):
            if not b.requires_grad:
                distances.append(unit_distance(a, b, self.get_buffer(f"weight{layer}")))
                continue
            difference = (_unit_length(a) - _unit_length(b)).square()
            weighted = difference * self.get_buffer(f"weight{layer}")
            distances.append(weighted.sum(dim=1).mean(dim=(1, 2)))
        return torch.stack(distances).sum(dim=0)


def _unit_length(features: Tensor) -> Tensor:
    """Feature vectors (over dim 1) over their length + EPSILON, in float32 or wider; 0 stays 0."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    squared = features.square().sum(dim=1, keepdim=True)
    # The square root's slope at 0 is infinite and would turn the gradient of a dead pixel into NaN.
    return features / (squared.clamp_min(EPSILON**2).sqrt() + EPSILON)


def load_lpips(weights_folder: Path | None = None, download: bool = True) -> Lpips:
    """LPIPS-squeeze v0.1 with the SqueezeNet and linear weights found under `weights_folder`.

    None looks where `find_weights` does and then, if `download`, fetches what is missing.
    Raises UserError for missing or unfit weights.
    """
    squeezenet = linear = None
    if weights_folder is not None:
        squeezenet, linear = (_inside(weights_folder, name) for name in ("squeezenet", "lpips"))
    features = load_features("squeezenet", squeezenet, download=download)
    assert isinstance(features, SqueezeNetFeatures)
    return Lpips(features, load_weights("lpips", linear, download=download))


def _inside(folder: Path, name: str) -> Path:
    candidates = [folder / path for path in SOURCES[name].paths]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        names = " or ".join(SOURCES[name].paths)
        raise UserError(f"no {names} in {folder}; download it from {SOURCES[name].url}")
    return found
