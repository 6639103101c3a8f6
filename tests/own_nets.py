"""A user's own file of networks, as the tests name them: own_nets:noise and so on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_slimming import InputContract


class Noise(nn.Module):
    """Latents, and classes if there are any, to 16x16 pixels in [0, 1], BGR."""

    def __init__(self, width: int = 8, latent: int = 6, classes: int = 0) -> None:
        super().__init__()
        self.contract = InputContract(
            low=0, colour_order="BGR", latent_size=latent, classes=classes
        )
        self.embed = nn.Embedding(classes, latent) if classes else None
        self.first = nn.Linear(latent, width * 16)
        self.blocks = nn.Sequential(
            *(nn.BatchNorm2d(width), nn.ReLU(), nn.Upsample(scale_factor=2)),
            *(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Upsample(scale_factor=2), nn.Conv2d(width, 3, 3, padding=1), nn.Sigmoid()),
        )

    def forward(self, latents: Tensor, classes: Tensor | None = None) -> Tensor:
        if self.embed is not None:
            latents = latents + self.embed(classes)
        return self.blocks(self.first(latents).unflatten(1, (-1, 4, 4)))


class Double(nn.Module):
    """Images to twice as large ones, in [0, 255], BGR, sides in twos."""

    contract = InputContract(low=0, high=255, colour_order="BGR", scale=2, multiple_of=2)

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(3, width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, 48, 3, padding=1), nn.PixelShuffle(4)),
        )

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.body(images)) * 255


class Grey(nn.Module):
    """A colouriser or, with one channel out, a filter: grey images in [0, 1]."""

    contract = InputContract(channels=1, low=0)

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, channels, 3, padding=1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        return torch.sigmoid(self.body(images))


def grey(channels: int = 3) -> nn.Module:
    torch.manual_seed(6)
    return Grey(channels)


def noise(width: int = 8, latent: int = 6, classes: int = 0) -> nn.Module:
    torch.manual_seed(4)
    net = Noise(width, latent, classes)
    net.blocks[7].weight.data.mul_(8)  # so that images differ  # pyright: ignore
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):  # updated, as a trained generator's are
            layer.running_mean.normal_(0, 0.05)  # pyright: ignore
    return net


def double() -> nn.Module:
    """A factory without arguments."""
    torch.manual_seed(5)
    return Double()


def discriminator() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 1))
