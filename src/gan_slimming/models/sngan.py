"""SNGAN for 32x32 pixels (Miyato, Kataoka, Koyama, Yoshida, ICLR 2018, appendix B.4, table 4).

Names follow the usual PyTorch code, after the authors' Chainer code: l1, block2 to block4 with b1,
c1, b2, c2, c_sc, b5, c5.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict, known, size

UPSAMPLING = ("nearest", "bilinear")
BOTTOM = 4
"""Height and width of the first feature map, in pixels."""


class UpBlock(nn.Module):
    """A residual block to twice the size: c_sc(up(x)) + c2(relu(b2(c1(up(relu(b1(x)))))))."""

    def __init__(self, channels: int, upsampling: str) -> None:
        super().__init__()
        self.b1, self.b2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.up = nn.Upsample(scale_factor=2, mode=upsampling)
        self.c1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.c2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.c_sc = nn.Conv2d(channels, channels, 1)
        for layer, gain in ((self.c1, 2**0.5), (self.c2, 2**0.5), (self.c_sc, 1.0)):
            nn.init.xavier_uniform_(layer.weight, gain)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to (batch, channels, 2 height, 2 width)."""
        inner = self.c1(self.up(self.relu(self.b1(features))))
        return self.c2(self.relu(self.b2(inner))) + self.c_sc(self.up(features))


class SnganGenerator(nn.Module):
    """A generator from noise (batch, latent) to images (batch, 3, 32, 32), RGB in [-1, 1].

    Args:
        width: channels of every layer.
        latent: length of the noise vector.
        upsampling: 'nearest', or 'bilinear' for some published weights; the weights do not tell
            which.
    """

    def __init__(self, width: int = 256, latent: int = 128, upsampling: str = "nearest") -> None:
        super().__init__()
        if width < 1 or latent < 1:
            raise UserError(f"width and latent must be at least 1, got {width} and {latent}")
        if upsampling not in UPSAMPLING:
            raise UserError(f"upsampling must be one of {', '.join(UPSAMPLING)}, got {upsampling}")
        self.contract = InputContract(latent_size=latent)
        self.l1 = nn.Linear(latent, width * BOTTOM**2)
        self.block2 = UpBlock(width, upsampling)
        self.block3 = UpBlock(width, upsampling)
        self.block4 = UpBlock(width, upsampling)
        self.b5 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.c5 = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.xavier_uniform_(self.l1.weight)
        nn.init.xavier_uniform_(self.c5.weight)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Map (batch, latent) to (batch, 3, 32, 32) in [-1, 1]."""
        features = self.l1(latents).reshape(latents.shape[0], -1, BOTTOM, BOTTOM)
        features = self.block4(self.block3(self.block2(features)))
        return torch.tanh(self.c5(self.relu(self.b5(features))))


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer width and latent size from a state dict, where possible."""
    return known(width=size(state, "c5.weight", 1), latent=size(state, "l1.weight", 1))


ENTRIES = {
    "sngan": Entry(
        "SNGAN (Miyato et al. 2018), ResNet generator, noise to 32x32 pixels",
        SnganGenerator,
        infer_arguments,
    ),
}
