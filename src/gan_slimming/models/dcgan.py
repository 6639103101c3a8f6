"""The generator of DCGAN (Radford, Metz, Chintala, ICLR 2016), as in PyTorch's examples."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict, known, size
from gan_slimming.models.initialisation import initialise


class DcganGenerator(nn.Module):
    """A generator from noise (batch, latent) to images (batch, 3, 64, 64), RGB in [-1, 1].

    Args:
        width: channels of the last hidden layer, at 32x32; the first, at 4x4, has 8 * width.
        latent: length of the noise vector.
    """

    def __init__(self, width: int = 64, latent: int = 100) -> None:
        super().__init__()
        if width < 1 or latent < 1:
            raise UserError(f"width and latent must be at least 1, got {width} and {latent}")
        self.contract = InputContract(latent_size=latent)
        layers: list[nn.Module] = []
        incoming = latent
        for place, outgoing in enumerate((8 * width, 4 * width, 2 * width, width)):
            stride, padding = (1, 0) if place == 0 else (2, 1)
            layers.append(
                nn.ConvTranspose2d(incoming, outgoing, 4, stride, padding=padding, bias=False)
            )
            layers += [nn.BatchNorm2d(outgoing), nn.ReLU()]
            incoming = outgoing
        layers += [nn.ConvTranspose2d(incoming, 3, 4, 2, padding=1, bias=False), nn.Tanh()]
        self.main = nn.Sequential(*layers)
        initialise(self)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Map (batch, latent), upstream (batch, latent, 1, 1), to (batch, 3, 64, 64) in [-1, 1]."""
        return self.main(latents.reshape(latents.shape[0], -1, 1, 1))


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer width and latent size from a state dict, where possible."""
    return known(width=size(state, "main.12.weight"), latent=size(state, "main.0.weight"))


ENTRIES = {
    "dcgan": Entry(
        "DCGAN (Radford et al. 2016), noise to 64x64 pixels", DcganGenerator, infer_arguments
    ),
}
