"""Networks from noise to image, in the manner of published families, a few channels wide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

import gan_slimming as gs


class PixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualConv(nn.Module):
    """A convolution whose weights are scaled in the forward (Karras et al. 2018)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = (2 / (9 * inputs)) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=1)


class ProGan(nn.Module):
    """Equalised convolutions, pixel norms, nearest enlargement (ProGAN, Karras et al. 2018)."""

    contract = gs.InputContract(latent_size=32)

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(32, width * 64)
        self.layers = nn.ModuleList(EqualConv(width, width) for _ in range(4))
        self.before, self.norm = PixelNorm(), PixelNorm()
        self.last = nn.Conv2d(width, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.norm(F.leaky_relu(self.first(self.before(z)).view(z.shape[0], -1, 8, 8), 0.2))
        for number, layer in enumerate(self.layers):
            if number % 2 == 0:
                x = F.interpolate(x, scale_factor=2)
            x = self.norm(F.leaky_relu(layer(x), 0.2))
        return self.last(x)


class Modulated(nn.Module):
    """A convolution scaled by a style, and normalised again, with noise (Karras et al. 2020)."""

    def __init__(self, inputs: int, outputs: int, style: int, up: bool = False) -> None:
        super().__init__()
        self.outputs, self.up = outputs, up
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, 3, 3) / (9 * inputs) ** 0.5)
        self.modulation = nn.Linear(style, inputs)
        self.strength = nn.Parameter(torch.full((1,), 0.1))
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear")
        batch, channels, height, width = x.shape
        weight = self.weight * (1 + self.modulation(style)).view(batch, 1, channels, 1, 1)
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), True) + 1e-8)
        weight = weight.view(batch * self.outputs, channels, 3, 3)
        x = F.conv2d(x.reshape(1, -1, height, width), weight, padding=1, groups=batch)
        x = x.view(batch, self.outputs, height, width)
        noise = x.new_empty(batch, 1, height, width).normal_()
        return F.leaky_relu(x + self.strength * noise + self.bias, 0.2)


class StyleGan2(nn.Module):
    """A mapping, modulated convolutions, and images added up by skips (Karras et al. 2020)."""

    contract = gs.InputContract(latent_size=16)

    def __init__(self, width: int = 16, style: int = 16) -> None:
        super().__init__()
        self.mapping = nn.Sequential(
            PixelNorm(), nn.Linear(16, 24), nn.LeakyReLU(0.2), nn.Linear(24, style)
        )
        self.constant = nn.Parameter(torch.randn(1, width, 8, 8))
        self.first = Modulated(width, width, style)
        self.second = Modulated(width, width, style, up=True)
        self.third = Modulated(width, width, style)
        self.images = nn.ModuleList(nn.Conv2d(width, 3, 1) for _ in range(2))

    def forward(self, z: Tensor) -> Tensor:
        style = self.mapping(z)
        x = self.first(self.constant.expand(z.shape[0], -1, -1, -1), style)
        image = F.interpolate(self.images[0](x), scale_factor=2, mode="bilinear")
        return image + self.images[1](self.third(self.second(x, style), style))


class Attention(nn.Module):
    """Self-attention over all pixels (SAGAN, Zhang et al. 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = nn.Conv2d(channels, 4, 1), nn.Conv2d(channels, 4, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gain = nn.Parameter(torch.full((1,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        query = self.query(x).view(batch, -1, height * width).permute(0, 2, 1)
        key = self.key(x).view(batch, -1, height * width)
        value = self.value(x).view(batch, -1, height * width)
        seen = torch.bmm(value, torch.bmm(query, key).softmax(-1).permute(0, 2, 1))
        return self.gain * seen.view(batch, channels, height, width) + x


class SaGan(nn.Module):
    """Spectral norms and self-attention between transposed convolutions (Zhang et al. 2019)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            spectral_norm(nn.ConvTranspose2d(20, 2 * width, 8)), nn.BatchNorm2d(2 * width),
            nn.ReLU(), spectral_norm(nn.ConvTranspose2d(2 * width, width, 4, 2, 1)),
            nn.BatchNorm2d(width), nn.ReLU(), Attention(width),
            nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.contract = gs.InputContract(latent_size=20)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z[:, :, None, None])


class ConditionalBlock(nn.Module):
    """A residual block that enlarges; batch norms scaled and shifted by noise and class."""

    def __init__(self, inputs: int, outputs: int, given: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs, affine=False)
        self.gain, self.shift = nn.Linear(given, inputs), nn.Linear(given, inputs)
        self.conv = parametrizations.spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        gain, shift = self.gain(given)[:, :, None, None], self.shift(given)[:, :, None, None]
        branch = F.interpolate(F.relu(self.norm(x) * (1 + gain) + shift), scale_factor=2)
        return self.conv(branch) + self.skip(F.interpolate(x, scale_factor=2))


class BigGan(nn.Module):
    """Chunks of the noise and an embedded class for each block (BigGAN, Brock et al. 2019)."""

    contract = gs.InputContract(latent_size=24, classes=4)

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.classes = nn.Embedding(4, 6)
        self.first = nn.Linear(8, width * 64)
        self.blocks = nn.ModuleList(ConditionalBlock(width, width, 14) for _ in range(2))
        self.last = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1)
        )

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        first, *others = torch.split(z, 8, 1)
        x, known = self.first(first).view(z.shape[0], -1, 8, 8), self.classes(label)
        for block, part in zip(self.blocks, others, strict=True):
            x = block(x, torch.cat([known, part], 1))
        return torch.tanh(self.last(x))
