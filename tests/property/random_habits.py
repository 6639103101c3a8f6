"""Blocks of random generators with habits of published code: contexts, numbers, own norms, FFTs."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def habits(rng: random.Random, width: int, style: int) -> list[tuple[int, Callable[[], nn.Module]]]:
    """Return channels out -> maker, of blocks that take (x, style) at this width.

    Args:
        style: length of the style vector.
    """
    wide = rng.randint(2, 7)
    return [
        (width, lambda: OwnNorm(width, rng.randint(0, 4))),
        (width, lambda: AdaptiveLayerInstance(width, style)),
        (wide, lambda: Modulated(width, wide, style, rng.random() < 0.7)),
        (wide, lambda: SplitGate(width, wide, rng.randint(0, 2))),
        (width, lambda: InContext(width, wide, rng.randint(0, 2))),
        (wide, lambda: SpectralByHand(width, wide)),
        (width, lambda: Fourier(width, rng.random() < 0.5)),
        (width, lambda: KeptFeature(width, wide, rng.random() < 0.5)),
        (width, lambda: Running(width)),
        (width, lambda: Optional(width)),
        (width, lambda: IntoBatch(width)),
    ]


class OwnNorm(nn.Module):
    """A norm over channels as a module of its own: PixelNorm, RMSNorm, LayerNorm by hand."""

    class Norm(nn.Module):
        def __init__(self, width: int, kind: int):
            super().__init__()
            self.kind = kind
            self.gamma = nn.Parameter(torch.ones(1, width, 1, 1))
            self.beta = nn.Parameter(torch.zeros(1, width, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            if self.kind == 0:
                return x / torch.sqrt(torch.mean(x**2, dim=1, keepdim=True) + 1e-8)
            if self.kind == 1:
                return x * torch.rsqrt((x * x).mean(1, True) + 1e-6) * self.gamma
            if self.kind == 2:
                mean = x.mean((1, 2, 3), keepdim=True)
                std = x.std((1, 2, 3), keepdim=True)
                return (x - mean) / (std + 1e-5) * self.gamma + self.beta
            mean = x.mean(1, keepdim=True)
            var = (x - mean).pow(2).mean(1, keepdim=True)
            return (x - mean) / (var + 1e-6).sqrt() * self.gamma + self.beta

    def __init__(self, width: int, kind: int):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), self.Norm(width, kind)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.2)


class AdaptiveLayerInstance(nn.Module):
    """U-GAT-IT's AdaLIN: instance and layer statistics mixed, scale and shift from a style."""

    class Norm(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.rho = nn.Parameter(torch.full((1, width, 1, 1), 0.9))

        def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
            one = x - x.mean((2, 3), keepdim=True)
            one = one / torch.sqrt(x.var((2, 3), keepdim=True) + 1e-5)
            all_ = x - x.mean((1, 2, 3), keepdim=True)
            all_ = all_ / torch.sqrt(x.var((1, 2, 3), keepdim=True) + 1e-5)
            x = self.rho * one + (1 - self.rho) * all_
            return x * gamma[..., None, None] + beta[..., None, None]

    def __init__(self, width: int, style: int):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), self.Norm(width)
        self.gamma, self.beta = nn.Linear(style, width), nn.Linear(style, width)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x), self.gamma(style), self.beta(style)))


class Modulated(nn.Module):
    """StyleGAN2's modulated convolution by groups, demodulated or not, with a noise buffer."""

    def __init__(self, width: int, outputs: int, style: int, demodulated: bool):
        super().__init__()
        self.outputs, self.demodulated = outputs, demodulated
        self.weight = nn.Parameter(torch.randn(1, outputs, width, 3, 3))
        self.style, self.strength = nn.Linear(style, width), nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.linspace(-1, 1, 4).view(1, 1, 2, 2))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        n, c, h, w = x.shape
        weight = 0.3 * self.weight * self.style(style).view(n, 1, c, 1, 1)
        if self.demodulated:
            weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8).view(n, -1, 1, 1, 1)
        weight = weight.view(n * self.outputs, c, 3, 3)
        x = F.conv2d(x.reshape(1, n * c, h, w), weight, padding=1, groups=n)
        noise = F.interpolate(self.get_buffer("noise").to(x), size=(h, w))
        x = x.view(n, self.outputs, h, w) + self.strength * noise
        return F.leaky_relu(x + self.bias.view(1, -1, 1, 1), 0.2)


class SplitGate(nn.Module):
    """A gated convolution whose halves are cut by a number that the module remembers."""

    def __init__(self, width: int, outputs: int, how: int):
        super().__init__()
        self.outputs, self.how = outputs, how
        self.conv = nn.Conv2d(width, 2 * outputs, 3, padding=1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y = self.conv(x)
        if self.how == 0:
            feature, gate = torch.split(y, self.outputs, dim=1)
        elif self.how == 1:
            feature, gate = y[:, : self.outputs], y[:, self.outputs :]
        else:
            feature, gate = torch.split(y, [self.outputs, self.outputs], 1)
        return F.elu(feature) * torch.sigmoid(gate)


class InContext(nn.Module):
    """A residual branch under no_grad, autocast that is off, or a checkpoint."""

    def __init__(self, width: int, inner: int, how: int):
        super().__init__()
        self.one, self.two = nn.Conv2d(width, inner, 3, padding=1), nn.Conv2d(inner, width, 1)
        self.how = how

    def inner(self, x: Tensor) -> Tensor:
        return self.two(F.relu(self.one(x)))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        if self.how == 0:
            with torch.no_grad():
                return x + self.inner(x)
        if self.how == 1:
            with torch.autocast("cpu", enabled=False):
                return x + self.inner(x)
        return x + checkpoint(self.inner, x, use_reentrant=False)  # pyright: ignore


class SpectralByHand(nn.Module):
    """A spectral norm by hand: its vectors are written through .data while it trains."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.weight_bar = nn.Parameter(torch.randn(outputs, width, 3, 3))
        self.u = nn.Parameter(torch.randn(outputs), requires_grad=False)
        self.v = nn.Parameter(torch.randn(width * 9), requires_grad=False)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        flat = self.weight_bar.flatten(1)
        if self.training:
            self.v.data = F.normalize(flat.t() @ self.u, dim=0)
            self.u.data = F.normalize(flat @ self.v, dim=0)
        sigma = F.normalize(self.u, dim=0).dot(flat.mv(F.normalize(self.v, dim=0)))
        return F.leaky_relu(F.conv2d(x, self.weight_bar / (sigma.abs() + 1), padding=1), 0.2)


class Fourier(nn.Module):
    """LaMa's spectral branch: real and imaginary parts are convolved as channels."""

    def __init__(self, width: int, stacked: bool):
        super().__init__()
        self.conv, self.stacked = nn.Conv2d(2 * width, 2 * width, 1, bias=False), stacked
        self.norm = nn.BatchNorm2d(2 * width)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        n, _, height, width = x.shape
        spectrum = torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")
        if self.stacked:
            y = torch.stack((spectrum.real, spectrum.imag), -1).permute(0, 1, 4, 2, 3)
            y = y.reshape(n, -1, height, width // 2 + 1)
        else:
            y = torch.cat((spectrum.real, spectrum.imag), 1)
        y = F.relu(self.norm(self.conv(y)))
        if self.stacked:
            y = y.view(n, -1, 2, height, width // 2 + 1).permute(0, 1, 3, 4, 2).contiguous()
            spectrum = torch.complex(y[..., 0], y[..., 1])
        else:
            spectrum = torch.complex(*y.chunk(2, 1))
        return x + torch.fft.irfftn(spectrum, s=(height, width), dim=(-2, -1), norm="ortho")


class KeptFeature(nn.Module):
    """A feature kept in an attribute by the forward or by a hook, and read later on."""

    def __init__(self, width: int, inner: int, hooked: bool):
        super().__init__()
        self.one, self.two = nn.Conv2d(width, inner, 3, padding=1), nn.Conv2d(inner, inner, 1)
        self.three, self.kept, self.hooked = nn.Conv2d(2 * inner, width, 1), None, hooked
        if hooked:
            self.one.register_forward_hook(keep_output)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        y = self.one(x)
        self.kept = None if self.hooked else y
        z = F.relu(self.two(F.relu(y)))
        return x + self.three(torch.cat([z, self.one.kept if self.hooked else self.kept], 1))  # pyright: ignore


def keep_output(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Keep what a layer made, as a hook."""
    layer.kept = output  # pyright: ignore


class Running(nn.Module):
    """Instance norm with running statistics, and a batch norm of the user's own name."""

    class Norm(nn.BatchNorm2d):
        pass

    def __init__(self, width: int):
        super().__init__()
        self.conv, self.other = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 1)
        self.norm = nn.InstanceNorm2d(width, affine=True, track_running_stats=True)
        self.own = self.Norm(width)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return x + F.relu(self.own(self.other(F.relu(self.norm(self.conv(x))))))


class Optional(nn.Module):
    """Any number of inputs, defaults and None; dropout that is called as a function."""

    class Inner(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            self.conv = nn.Conv2d(width, width, 3, padding=1)

        def forward(
            self, *inputs: Tensor, mask: Tensor | None = None, slope: float = 0.1
        ) -> Tensor:
            x = F.leaky_relu(self.conv(inputs[0]), slope)
            x = F.dropout(x, 0.5, self.training)
            return x if mask is None else x * mask

    def __init__(self, width: int):
        super().__init__()
        self.inner, self.none = self.Inner(width), None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = x + self.inner(x, None, mask=self.none)
        return self.inner(x, mask=torch.sigmoid(x.mean(1, True)))


class IntoBatch(nn.Module):
    """An instance norm by hand that views channels as a batch, as MUNIT's does."""

    def __init__(self, width: int):
        super().__init__()
        self.conv, self.width = nn.Conv2d(width, width, 3, padding=1), width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.conv(x)
        b, c = x.size(0), x.size(1)
        mean, var = (self.get_buffer(n).repeat(b) for n in ("mean", "var"))
        flat = x.contiguous().view(1, b * c, *x.size()[2:])
        flat = F.batch_norm(flat, mean, var, self.weight.repeat(b), self.bias.repeat(b), True, 0.1)
        return F.relu(flat.view(b, c, *x.size()[2:]))
