"""Foreign nets with norms over all channels: AnimeGANv2's, ConvNeXt's, a transformer's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tests.property.foreign_images import conv
from torch import Tensor, nn


class ConvNormLReLU(nn.Sequential):
    """AnimeGANv2's layer: reflection pad, convolution, GroupNorm of one group, leaky ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1,
        padding: int | tuple[int, int, int, int] = 1, groups: int = 1, bias: bool = False,
    ):  # fmt: skip
        super().__init__(
            nn.ReflectionPad2d(padding),
            nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=bias),
            nn.GroupNorm(1, outputs),
            nn.LeakyReLU(0.2, inplace=True),
        )


class InvertedResBlock(nn.Module):
    """Expanded by a 1x1 convolution, filtered channel by channel, narrowed; added where it fits."""

    def __init__(self, inputs: int, outputs: int, expansion: int = 2):
        super().__init__()
        self.added, wide = inputs == outputs, inputs * expansion
        self.layers = nn.Sequential(
            ConvNormLReLU(inputs, wide, kernel=1, padding=0),
            ConvNormLReLU(wide, wide, groups=wide, bias=True),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.GroupNorm(1, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.added else self.layers(x)


class AnimeGanV2(nn.Module):
    """AnimeGANv2's generator, of 32 channels there; without its padding of odd images."""

    def __init__(self, width: int = 3):
        super().__init__()
        one, two, four, eight = width, 2 * width, 4 * width, 8 * width
        down = (0, 1, 0, 1)
        self.a = nn.Sequential(
            ConvNormLReLU(3, one, kernel=7, padding=3),
            ConvNormLReLU(one, two, stride=2, padding=down), ConvNormLReLU(two, two),
        )  # fmt: skip
        self.b = nn.Sequential(
            ConvNormLReLU(two, four, stride=2, padding=down), ConvNormLReLU(four, four)
        )
        self.c = nn.Sequential(
            ConvNormLReLU(four, four), InvertedResBlock(four, eight),
            *(InvertedResBlock(eight, eight) for _ in range(3)), ConvNormLReLU(eight, four),
        )  # fmt: skip
        self.d = nn.Sequential(ConvNormLReLU(four, four), ConvNormLReLU(four, four))
        self.e = nn.Sequential(
            ConvNormLReLU(four, two), ConvNormLReLU(two, two),
            ConvNormLReLU(two, one, kernel=7, padding=3),
        )  # fmt: skip
        self.out = nn.Sequential(nn.Conv2d(one, 3, 1, bias=False), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        half = y.shape[-2:]
        y = F.interpolate(self.c(self.b(y)), half, mode="bilinear", align_corners=True)
        y = F.interpolate(self.d(y), x.shape[-2:], mode="bilinear", align_corners=True)
        return self.out(self.e(y))


def inverted() -> nn.Module:
    """AnimeGANv2's middle part, shallow enough for a rounding to stay what it is."""
    return nn.Sequential(ConvNormLReLU(3, 6), InvertedResBlock(6, 6), conv(6, 3))


class NextBlock(nn.Module):
    """ConvNeXt's: channel by channel, LayerNorm over channels last, two Linear, a layer scale."""

    def __init__(self, width: int):
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.spatial(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


def conv_next() -> nn.Module:
    """Two of ConvNeXt's blocks; no dead channel of the stream comes back by its LayerNorm."""
    return nn.Sequential(conv(3, 6), NextBlock(6), NextBlock(6), conv(6, 3))


class Normalised(nn.Module):
    """LayerNorm on tokens with a shift, without one, and without scale; called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.two = conv(3, 6), nn.Linear(6, 5), nn.Linear(5, 5)
        self.shifted, self.bare = nn.LayerNorm(6), nn.LayerNorm(5, elementwise_affine=False)
        self.scaled = nn.LayerNorm(5, bias=False)
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        t = F.relu(self.shifted(self.first(x).flatten(2).transpose(1, 2)))
        t = F.silu(self.scaled(self.one(t)))
        t = t + self.scaled(self.two(t))
        t = self.last(self.bare(t))
        return t.transpose(1, 2).unflatten(2, x.shape[2:])


class NotThinned(nn.Module):
    """Norms over all channels that are no layers of torch's, or over more than channels."""

    class Own(nn.GroupNorm):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    def __init__(self) -> None:
        super().__init__()
        self.own, self.rms = self.Own(1, 5), nn.RMSNorm(5)
        self.layers = nn.ModuleList([conv(3, 5), conv(5, 5), conv(5, 5), conv(5, 6), conv(6, 3)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.own(self.layers[0](x))
        x = F.group_norm(self.layers[1](F.relu(x)), 1)
        x = self.rms(self.layers[2](F.relu(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.layers[3](F.relu(x))
        return self.layers[4](F.relu(F.layer_norm(x, x.shape[1:])))
