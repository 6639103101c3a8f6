"""Initial weights, as in the papers."""

from __future__ import annotations

from torch import nn


def initialise(network: nn.Module) -> None:
    """Draw weights as DCGAN, pix2pix and CycleGAN do (Zhu et al. 2017, section 4), in place.

    Convolutions are from N(0, 0.02), scales of batch normalisations from N(1, 0.02), where 0.02 is
    the standard deviation. Biases are 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, mean=1.0, std=0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
