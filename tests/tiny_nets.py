"""Every registered generator, as narrow and shallow as it can be built."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_slimming.config import InputContract

SHALLOW = {
    "adaptive-style": {"blocks": 1},
    "cartoongan": {"blocks": 2},
    "cyclegan": {"blocks": 2},
    "cyclegan-mobile": {"blocks": 2},
    "esrgan": {"blocks": 2, "growth": 2},
    "srgan": {"blocks": 2},
}
"""Name -> arguments besides width."""


def example(contract: InputContract, batch: int = 1, larger: int = 0) -> Tensor:
    """Random input of the smallest size that is not trivial.

    Args:
        larger: by so many of its steps the sides of an image are longer.
    """
    if contract.latent_size:
        return torch.randn(batch, contract.latent_size)
    side = max(contract.min_size, 16) + larger * max(contract.multiple_of, 4)
    return contract.low + (contract.high - contract.low) * torch.rand(batch, 3, side, side)
