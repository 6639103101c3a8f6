"""LPIPS, the learned perceptual distance of Zhang et al. 2018, v0.1, on three networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.perceptual.features import SqueezeNetFeatures, load_features
from gan_slimming.perceptual.lpips_networks import AlexNetFeatures, DeepVgg16Features
from gan_slimming.perceptual.unit_distance import EPSILON, unit_distance
from gan_slimming.perceptual.weights import SOURCES, find_weights, load_weights

Features = SqueezeNetFeatures | AlexNetFeatures | DeepVgg16Features

LPIPS_WEIGHTS = {
    "squeeze": ("squeezenet", "lpips"),
    "alex": ("alexnet", "lpips_alex"),
    "vgg": ("vgg16", "lpips_vgg"),
}
"""Network -> names of its weights and of the linear layers on top (perceptual.weights)."""


class Lpips(nn.Module):
    """The distance d(a, b) = sum over layers of the mean over positions of w . (a^ - b^)^2.

    a^, b^: feature vectors scaled to length one; w: one non-negative weight per channel. Images are
    RGB in [-1, 1]. The features apply ImageNet's normalisation to (x + 1) / 2. That equals the
    original's scaling layer exactly: (x - shift) / scale with shift (-.030, -.088, -.188) and scale
    (.458, .448, .450). Frozen, differentiable in both images, in float32 after the features.
    """

    def __init__(self, features: Features, linear: Mapping[str, Tensor]) -> None:
        """Take `linear` weights lin0.model.1.weight and so on, each (1, channels, 1, 1)."""
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
        """Stay in evaluation mode, whatever `mode` is."""
        return super().train(False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return distances (batch,) of images (batch, 3, height, width), RGB in [-1, 1]."""
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
    """Divide feature vectors (dim 1) by their length + EPSILON, in float32 or wider; 0 stays 0."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    squared = features.square().sum(dim=1, keepdim=True)
    # The square root's slope at 0 is infinite and would make the gradient of a zero vector NaN.
    return features / (squared.clamp_min(EPSILON**2).sqrt() + EPSILON)


def load_lpips(
    weights_folder: Path | None = None, download: bool = True, network: str = "squeeze"
) -> Lpips:
    """Load LPIPS v0.1.

    Args:
        weights_folder: folder of both weight files; None searches as `find_weights` does.
        download: whether to download files that are not found; not for a named folder.
        network: squeeze, alex or vgg.

    Raises:
        UserError: weights are missing or do not fit.
    """
    if network not in LPIPS_WEIGHTS:
        raise UserError(f"LPIPS has the networks {', '.join(LPIPS_WEIGHTS)}, got {network!r}")
    of_network, of_linear = LPIPS_WEIGHTS[network]
    body = linear = None
    if weights_folder is not None:
        body, linear = (_inside(weights_folder, name) for name in (of_network, of_linear))
    if network == "squeeze":
        features = load_features("squeezenet", body, download=download)
        assert isinstance(features, SqueezeNetFeatures)
    else:
        kind = AlexNetFeatures if network == "alex" else DeepVgg16Features
        features = kind(load_weights(of_network, body, download=download))
    return Lpips(features, load_weights(of_linear, linear, download=download))


def lpips_at_hand() -> Lpips | None:
    """Return LPIPS on SqueezeNet if its weights are on this machine, without a download."""
    if find_weights("squeezenet") is None or find_weights("lpips") is None:
        return None
    return load_lpips(download=False)


def _inside(folder: Path, name: str) -> Path:
    candidates = [folder / path for path in SOURCES[name].paths]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        names = " or ".join(SOURCES[name].paths)
        raise UserError(f"no {names} in {folder}; download it from {SOURCES[name].url}")
    return found
