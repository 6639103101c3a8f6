"""Foreign nets from image to image: ways of joining, resizing and filtering."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(inputs: int, outputs: int, **more: int | bool) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **more)  # pyright: ignore


class NamedSplit(nn.Module):
    """A split that names its number of channels: held, the rest is slimmed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.body, self.last = conv(3, 8), conv(4, 5), conv(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.split(self.first(x), 4, dim=1)
        return self.last(F.relu(self.body(left * torch.sigmoid(right))))


class SqueezeExcite(nn.Module):
    """Squeeze and excitation: pooled, two linear layers, a sigmoid as a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = conv(3, 8), nn.BatchNorm2d(8), conv(8, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze, self.excite = nn.Linear(8, 5), nn.Linear(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        scale = self.pool(x).flatten(1)
        scale = torch.sigmoid(self.excite(F.relu(self.squeeze(scale))))
        return self.last(x * scale[:, :, None, None])


class ConvExcite(nn.Module):
    """The same by 1x1 convolutions and a mean that keeps its axes, hard sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 6), conv(6, 3)
        self.down, self.up = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.first(x))
        scale = F.hardsigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))
        return self.last(scale * x)


class Dense(nn.Module):
    """ESRGAN's dense block: every convolution reads all before it; the block is scaled."""

    def __init__(self, width: int = 6, growth: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv(width + growth * n, growth) for n in range(3))
        self.last = conv(width + growth * 3, width)

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.layers:
            found.append(F.leaky_relu(layer(torch.cat(found, 1)), 0.2))
        return x + 0.2 * self.last(torch.cat(found, 1))


def esrgan() -> nn.Module:
    """Two dense blocks, then x4 by nearest upsampling and PixelShuffle."""
    return nn.Sequential(
        conv(3, 6), Dense(), Dense(), nn.Upsample(scale_factor=2), conv(6, 8), nn.PixelShuffle(2),
        nn.PReLU(2), conv(2, 3),
    )  # fmt: skip


class Blurred(nn.Module):
    """Blur pooling by a fixed kernel that is expanded to the channels, as upfirdn does."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 6), conv(6, 5), conv(5, 3)
        row = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("kernel", (row[:, None] * row / 16)[None, None])
        self.register_buffer("whole", self.kernel.repeat(5, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        weight = self.kernel.expand(x.shape[1], 1, 3, 3)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1)), weight, groups=x.shape[1])
        x = F.relu(self.second(x))
        return self.last(F.conv2d(x, self.get_buffer("whole"), padding=1, groups=x.shape[1]))


class PerChannelBlur(nn.Module):
    """Blur with the channels moved into the batch; reshaped there and back."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 6), conv(6, 3)
        self.register_buffer("kernel", torch.full((1, 1, 3, 3), 1 / 9))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        n, _, height, width = x.shape
        x = F.conv2d(x.reshape(-1, 1, height, width), self.kernel, padding=1)
        return self.last(x.reshape(n, -1, height, width))


class Shuffled(nn.Module):
    """Grouped convolution, channel shuffle by hand and by module, multiplied depthwise."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.group = conv(3, 8), conv(8, 12, groups=2)
        self.shuffle = nn.ChannelShuffle(3)
        self.depth, self.point = conv(12, 24, groups=12, bias=False), nn.Conv2d(24, 4, 1)
        self.last = conv(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.group(F.relu(self.first(x))))
        n, _, height, width = x.shape
        x = x.view(n, 2, -1, height, width).transpose(1, 2).reshape(n, -1, height, width)
        return self.last(F.relu(self.point(F.relu6(self.depth(self.shuffle(x))))))


class Unshuffled(nn.Module):
    """PixelUnshuffle on the way in, all ways of resizing, flips and rolls on the way out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 4), conv(16, 8), conv(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_unshuffle(F.elu(self.first(x)), 2)
        x = F.pixel_shuffle(self.second(x), 2)
        x = F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=True)
        x = F.interpolate(x, scale_factor=0.5, mode="area")
        x = x.flip(3).roll(1, 2) + F.interpolate(x, scale_factor=1, mode="nearest-exact")
        return self.last(x)


class UNetSkip(nn.Module):
    """pix2pix's recursion: an outer block holds an inner one; in-place activations."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.inner, self.up = conv(3, 4, stride=2), conv(4, 6, stride=2), None
        self.norm, self.middle = nn.BatchNorm2d(6), nn.ConvTranspose2d(6, 4, 4, 2, 1)
        self.last = nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        down = self.down(x)
        inner = self.norm(self.inner(F.leaky_relu_(down, 0.2)))
        return torch.tanh(self.last(torch.cat([down, F.relu_(self.middle(F.relu_(inner)))], 1)))
