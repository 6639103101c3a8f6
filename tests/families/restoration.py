"""Networks that enlarge, fill in or paint labels, in the manner of published families."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.models.registry import build_generator


def rrdb() -> nn.Module:
    """ESRGAN's residual in residual dense blocks (Wang et al. 2018)."""
    return build_generator("esrgan", width=16, growth=8, blocks=2)


class Srvgg(nn.Module):
    """A plain stack with PReLU, then a pixel shuffle (Real-ESRGAN, Wang et al. 2021)."""

    contract = gs.InputContract(low=0, high=1, scale=4)

    def __init__(self, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.PReLU(width)]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 48, 3, padding=1), nn.PixelShuffle(4))

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image) + F.interpolate(image, scale_factor=4, mode="nearest")


class Spade(nn.Module):
    """Norms whose scale and shift are painted by a label map (SPADE, Park et al. 2019)."""

    contract = gs.InputContract(extras=(gs.ExtraInput("mask", 4),))

    class Norm(nn.Module):
        def __init__(self, channels: int, labels: int) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(channels, affine=False)
            self.shared = nn.Sequential(nn.Conv2d(labels, 12, 3, padding=1), nn.ReLU())
            self.scale = nn.Conv2d(12, channels, 3, padding=1)
            self.shift = nn.Conv2d(12, channels, 3, padding=1)

        def forward(self, x: Tensor, labels: Tensor) -> Tensor:
            seen = self.shared(F.interpolate(labels, size=x.shape[2:], mode="nearest"))
            return self.norm(x) * (1 + self.scale(seen)) + self.shift(seen)

    def __init__(self, width: int = 16, labels: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, 2, 1)
        self.norms = nn.ModuleList(self.Norm(width, labels) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image: Tensor, labels: Tensor) -> Tensor:
        x = self.first(image)
        for norm, conv in zip(self.norms, self.convolutions, strict=True):
            x = x + conv(F.leaky_relu(norm(x, labels), 0.2))
        return torch.tanh(self.last(F.interpolate(x, scale_factor=2)))


class GatedConv(nn.Module):
    """Half of the channels open and close the other half (Yu et al. 2019)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.outputs = outputs
        self.conv = nn.Conv2d(inputs, 2 * outputs, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        features, gate = torch.split(self.conv(x), self.outputs, dim=1)
        return F.elu(features) * torch.sigmoid(gate)


class GatedInpainting(nn.Module):
    """A coarse and a fine stage fill in what a mask covers (DeepFill 2); returns both images."""

    contract = gs.InputContract(extras=(gs.ExtraInput("mask", 1),), output="1")

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.coarse = nn.Sequential(
            GatedConv(4, width), GatedConv(width, 2 * width, 2), GatedConv(2 * width, 2 * width),
            nn.Upsample(scale_factor=2), GatedConv(2 * width, width),
            nn.Conv2d(width, 3, 3, padding=1), nn.Tanh(),
        )  # fmt: skip
        self.fine = nn.Sequential(
            GatedConv(3, width), GatedConv(width, width), nn.Conv2d(width, 3, 3, padding=1),
            nn.Tanh(),
        )  # fmt: skip

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        coarse = self.coarse(torch.cat([image * (1 - mask), mask], 1))
        return coarse, self.fine(coarse * mask + image * (1 - mask))


class Fourier(nn.Module):
    """A convolution of frequencies, which sees the whole image (Suvorov et al. 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        spectrum = torch.fft.rfft2(x, norm="ortho")
        pairs = torch.stack((spectrum.real, spectrum.imag), 2)  # (batch, channels, 2, ...)
        parts = F.relu(self.norm(self.conv(pairs.flatten(1, 2))))
        parts = parts.view(batch, -1, 2, *parts.shape[2:])
        changed = torch.complex(parts[:, :, 0], parts[:, :, 1])
        return torch.fft.irfft2(changed, s=(height, width), norm="ortho")


class FourierInpainting(nn.Module):
    """Local and global branches side by side (LaMa, Suvorov et al. 2022)."""

    contract = gs.InputContract(extras=(gs.ExtraInput("mask", 1),))

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, width, 3, padding=1)
        self.local, self.fourier = nn.Conv2d(width, width, 3, padding=1), Fourier(width)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        x = F.relu(self.first(torch.cat([image * (1 - mask), mask], 1)))
        x = x + F.relu(self.norm(self.local(x) + self.fourier(x)))
        return torch.tanh(self.last(F.relu(self.body(x))))


class WindowAttention(nn.Module):
    """Self-attention within windows of 8x8 pixels (SwinIR, Liang et al. 2021)."""

    def __init__(self, width: int, side: int = 8) -> None:
        super().__init__()
        self.side, self.norm = side, nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        side = self.side
        parts = self.norm(x).view(batch, height // side, side, width // side, side, channels)
        parts = parts.transpose(2, 3).reshape(-1, side * side, channels)
        q, k, v = self.qkv(parts).chunk(3, -1)
        mixed = self.out(F.scaled_dot_product_attention(q, k, v))
        mixed = mixed.view(batch, height // side, width // side, side, side, channels)
        x = x + mixed.transpose(2, 3).reshape(batch, height, width, channels)
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """Convolutions before and behind attention in windows (SwinIR, Liang et al. 2021)."""

    contract = gs.InputContract(multiple_of=8, min_size=8)

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(WindowAttention(width) for _ in range(2))
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        first = self.first(image)
        x = first.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return torch.tanh(self.last(self.body(x.permute(0, 3, 1, 2)) + first))
