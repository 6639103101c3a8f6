"""Discriminators by name: those of this package, and any 'package.module:factory'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from gan_slimming.config import WeightsFile
from gan_slimming.errors import UserError
from gan_slimming.models import patchgan
from gan_slimming.models import sngan_discriminator as sngan_discriminator
from gan_slimming.models.catalogue import Catalogue

_DISCRIMINATORS = Catalogue("discriminator", patchgan.ENTRIES | sngan_discriminator.ENTRIES)


def registered_discriminators() -> list[str]:
    """Return the names for build_ and load_discriminator, in alphabetical order."""
    return _DISCRIMINATORS.names()


def describe_discriminator(name: str) -> str:
    """Return one line on a registered discriminator."""
    return _DISCRIMINATORS.entry(name).description


def build_discriminator(name: str, **arguments: Any) -> nn.Module:
    """Build a discriminator with fresh weights.

    It maps (batch, 3, height, width), RGB in [-1, 1], to scores.

    Args:
        name: a registered name, or 'package.module:factory', imported as for build_generator.
        arguments: arguments of the factory, such as width=32.

    Raises:
        UserError: an unknown name or argument, or a factory that fails.
    """
    return _DISCRIMINATORS.build(name, arguments)[0]


def load_discriminator(name: str, weights: str | Path | None = None, **arguments: Any) -> nn.Module:
    """Load a discriminator in float32 and training mode, to continue the dense GAN's training.

    Args:
        name: as for build_discriminator.
        weights: a .pth or .safetensors file; None keeps the fresh weights. For registered names,
            missing arguments are inferred from it.
        arguments: arguments of the factory.

    Raises:
        UserError: as build_discriminator and read_state_dict; the weights do not fit, or are of a
            conditional discriminator, which takes two images at once.
    """
    if weights is None:
        return build_discriminator(name, **arguments).float()
    module, resolved = _DISCRIMINATORS.load(name, WeightsFile(weights), arguments)
    if (channels := resolved.get("channels", 3)) != 3 and ":" not in name:
        raise UserError(
            f"weights file {weights} is of a {name} that sees {channels} channels, as conditional "
            "ones do; give one that sees the 3 of an image, or none"
        )
    module.train()  # a user's own may return nothing
    return module
