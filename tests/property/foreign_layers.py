"""Foreign nets with weights, norms and layers of their own making."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from tests.property.foreign_images import conv
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm


def norm_groups() -> nn.Module:
    """GroupNorm in sets of two and of three channels, and one over all of them."""
    return nn.Sequential(
        conv(3, 8), nn.GroupNorm(4, 8), nn.SiLU(), conv(8, 9), nn.GroupNorm(3, 9), nn.SiLU(),
        conv(9, 4), nn.GroupNorm(1, 4), nn.SiLU(), conv(4, 5), nn.GroupNorm(5, 5, affine=False),
        nn.ReLU(), conv(5, 3),
    )  # fmt: skip


class PixelNorm(nn.Module):
    """x / sqrt(mean of squares over channels), over all that the teacher had."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(dim=1, keepdim=True) + 1e-8)


def pixel_normalised() -> nn.Module:
    """ProGAN's norm over channels, written by hand, which counts dead channels as zeros."""
    return nn.Sequential(
        conv(3, 5), PixelNorm(), nn.LeakyReLU(0.2), conv(5, 6), nn.LeakyReLU(0.2), conv(6, 3)
    )


class UnitLength(nn.Module):
    """F.normalize over channels: a sum of squares, to which dead channels add nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 6), conv(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.normalize(self.first(x), dim=1))


def spectral() -> nn.Module:
    """Spectral norm and weight norm, by old hooks and by parametrisations."""
    old = torch.nn.utils.weight_norm
    with_warnings = _quietly(lambda: old(conv(6, 5)))
    return nn.Sequential(
        spectral_norm(conv(3, 6)), nn.BatchNorm2d(6), nn.ReLU(), with_warnings, nn.ReLU(),
        parametrizations.spectral_norm(conv(5, 6)), nn.ReLU(),
        parametrizations.weight_norm(conv(6, 4)), nn.ReLU(), conv(4, 3),
    )  # fmt: skip


def _quietly(build: Callable[[], nn.Module]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build()


class Halved(nn.Module):
    """A parametrisation of the user's own."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def parametrised() -> nn.Module:
    """A parametrisation that the package has never heard of."""
    layer = conv(3, 5)
    parametrize.register_parametrization(layer, "weight", Halved())
    return nn.Sequential(layer, nn.InstanceNorm2d(5, affine=True), nn.ReLU(), conv(5, 3))


class SharedTwice(nn.Module):
    """One convolution called twice, one block registered under two paths, and in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = conv(3, 5), conv(5, 5), conv(5, 3)
        self.block = nn.Sequential(conv(5, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 5))
        self.alias = self.block
        self.all = nn.ModuleList([self.first, self.last])

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.again(F.relu(self.again(F.relu(self.all[0](x))))))
        return self.last(F.relu(self.alias(F.relu(self.block(x)) + x)))


class TiedWeights(nn.Module):
    """Two convolutions with one weight and biases of their own, and a decoder that transposes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two = conv(3, 5), conv(5, 5), conv(5, 5)
        self.two.weight = self.one.weight
        self.last = conv(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.two(F.relu(self.one(F.relu(self.first(x))))))
        return self.last(x)


class TiedTranspose(nn.Module):
    """A decoder that uses the encoder's weight in F.conv_transpose2d."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.body, self.last = conv(3, 5), conv(5, 6), conv(5, 3)
        self.norm = nn.InstanceNorm2d(6, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.body(F.relu(self.first(x)))))
        return self.last(F.relu(F.conv_transpose2d(x, self.body.weight, padding=1)))


class EqualizedConv(nn.Module):
    """A convolution whose weight is a scaled parameter, as in ProGAN and StyleGAN."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / (inputs * 9) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=1)


def equalized() -> nn.Module:
    """Functional convolutions: their gates stand on the parameters."""
    return nn.Sequential(
        EqualizedConv(3, 6), nn.LeakyReLU(0.2), EqualizedConv(6, 5), nn.InstanceNorm2d(5),
        nn.LeakyReLU(0.2), EqualizedConv(5, 3),
    )  # fmt: skip


class Constants(nn.Module):
    """A learnt bias for each channel and pixel, a learnt scale, coordinates that are appended."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 5), conv(7, 6), conv(6, 3)
        self.bias = nn.Parameter(torch.zeros(1, 5, 1, 1))
        self.scale = nn.Parameter(torch.ones(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x) + self.bias)
        rows = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype).view(1, 1, -1, 1)
        rows = rows.expand(x.shape[0], 1, -1, x.shape[3])
        columns = torch.linspace(-1, 1, x.shape[3], dtype=x.dtype).expand_as(rows)
        x = torch.cat([x, rows, columns], dim=1)
        return self.last(self.second(x) * self.scale)


class Plus(nn.Module):
    """Numbers that are added, and functions that do not keep zero: their readers are gated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = conv(3, 5), conv(5, 4), conv(4, 5)
        self.last = conv(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.softplus(self.first(x))
        x = self.third(torch.exp(-self.second(x).pow(2)) + 1)
        return self.last(x.clamp(-1, 1).abs().sqrt())


class Gated(nn.Module):
    """Gated convolutions (GLU by module and by hand), maxout, a learnt mixture."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 8), conv(4, 10), conv(5, 3)
        self.left, self.right = conv(5, 5), conv(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.first(x), dim=1)
        feature, gate = self.second(x).chunk(2, 1)
        x = F.elu(feature) * torch.sigmoid(gate)
        left, right = self.left(x), self.right(x)
        x = torch.maximum(left, right) + torch.where(left > 0, left, right * 0.1)
        return self.last(torch.stack([x, left], dim=1).mean(dim=1))


class MyConv(nn.Conv2d):
    """A convolution with standardised weights."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return F.conv2d(input, weight, self.bias, padding=1)


class MyNorm(nn.BatchNorm2d):
    """A subclass that computes something else."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 0.5


def subclasses() -> nn.Module:
    """Subclasses of torch's layers are followed by what they compute, never by their name."""
    return nn.Sequential(conv(3, 6), MyNorm(6), nn.ReLU(), MyConv(6, 5, 3), nn.ReLU(), conv(5, 3))
