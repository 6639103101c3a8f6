"""DISTS (Ding et al. 2020): similarity of structure, and of texture, which may move a little.

torchmetrics has the published channel weights, but its network needs torchvision. Here it is built
on this package's VGG-16.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.errors import UserError
from gan_slimming.perceptual.lpips_networks import DeepVgg16Features
from gan_slimming.perceptual.weights import load_weights

STABILITY = 1e-6
"""c1 and c2 of equations 8 and 9."""
CHANNELS = (3, *DeepVgg16Features.channels)


class Dists(nn.Module):
    """The distance d(a, b) = 1 - sum over channels of alpha l(a, b) + beta s(a, b), eqs. 8 to 10.

    l compares the means of feature maps, s their variances and covariance: for the image itself and
    five layers of VGG-16. The network is frozen.

    Args:
        state: VGG-16 under torchvision's names.
        weights: 'alpha' and 'beta', each (1, 1475, 1, 1).
    Raises:
        UserError: a tensor is missing or has another shape.
    """

    def __init__(self, state: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.features = DeepVgg16Features(state, pool=_HanningPool)
        whole = sum(CHANNELS)
        for name in ("alpha", "beta"):
            came = tuple(weights[name].shape) if name in weights else "nothing"
            if came != (1, whole, 1, 1):
                raise UserError(f"DISTS needs {name!r} of (1, {whole}, 1, 1), got {came}")
        total = weights["alpha"].sum() + weights["beta"].sum()
        self.register_buffer("alpha", (weights["alpha"] / total).detach().clone())
        self.register_buffer("beta", (weights["beta"] / total).detach().clone())
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return distances (batch,) of images (batch, 3, height, width) in [-1, 1]; 0 for equal."""
        pairs = zip(self._maps(first), self._maps(second), strict=True)
        alphas = self.get_buffer("alpha").split(CHANNELS, dim=1)
        betas = self.get_buffer("beta").split(CHANNELS, dim=1)
        likeness = first.new_zeros(len(first))
        for (a, b), alpha, beta in zip(pairs, alphas, betas, strict=True):
            mean_a, mean_b = (x.mean(dim=(2, 3), keepdim=True) for x in (a, b))
            texture = (2 * mean_a * mean_b + STABILITY) / (mean_a**2 + mean_b**2 + STABILITY)
            together = ((a - mean_a) * (b - mean_b)).mean(dim=(2, 3), keepdim=True)
            variances = sum(
                (x - mean).square().mean(dim=(2, 3), keepdim=True)
                for x, mean in ((a, mean_a), (b, mean_b))
            )
            structure = (2 * together + STABILITY) / (variances + STABILITY)
            likeness = likeness + (alpha * texture + beta * structure).sum(dim=(1, 2, 3))
        return 1 - likeness

    def _maps(self, images: Tensor) -> list[Tensor]:
        unit = (images + 1) / 2
        return [unit, *self.features(unit).values()]


class _HanningPool(nn.Module):
    """A pool by the root of the blurred squares, stride 2, which aliases less than a maximum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The inner 3 of 5 points of a Hanning window.
        window = torch.tensor([0.5, 1.0, 0.5])
        kernel = window[:, None] * window
        shape = (channels, 1, 3, 3)
        self.register_buffer("kernel", (kernel / kernel.sum()).expand(shape).clone(), False)

    def forward(self, values: Tensor) -> Tensor:
        kernel = self.get_buffer("kernel")
        squares = F.conv2d(values**2, kernel, stride=2, padding=1, groups=len(kernel))
        return (squares + 1e-12).sqrt()


def load_dists(download: bool = True) -> Dists:
    """Return DISTS with the weights that `load_weights` finds, else raise UserError."""
    state = load_weights("vgg16", download=download)
    return Dists(state, load_weights("dists", download=download))
