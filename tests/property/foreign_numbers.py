"""Foreign nets that count their channels themselves, by attributes, or change views in place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tests.property.foreign_images import conv
from torch import Tensor, nn


class Counting(nn.Module):
    """A convolution whose forward names both its numbers of channels, as StyleGAN2's does."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.outputs, self.inputs, self.kernel_size = outputs, inputs, 3
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * torch.rsqrt(self.weight.pow(2).sum([2, 3, 4], True) + 1e-8)
        return F.conv2d(x, weight.view(self.outputs, self.inputs, 3, 3), padding=1)


class Counted(nn.Module):
    """Two of them as wide as each other, so that their numbers alone do not say what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 5), conv(5, 3)
        self.body = nn.ModuleList([Counting(5, 5), Counting(5, 5)])

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        for layer in self.body:
            x = F.relu(layer(x))
        return self.last(x)


class Assigned(nn.Module):
    """MUNIT's: a long vector of styles is cut up by each norm's own number of channels."""

    class Norm(nn.Module):
        def __init__(self, channels: int):
            super().__init__()
            self.channels = channels
            self.register_buffer("running_mean", torch.zeros(channels))

        def forward(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
            n, c = x.shape[:2]
            shift, scale = style[:, : self.channels], style[:, self.channels : 2 * self.channels]
            mean = self.get_buffer("running_mean").repeat(n)
            x = F.batch_norm(
                x.contiguous().view(1, n * c, *x.shape[2:]), mean, torch.ones_like(mean),
                scale.contiguous().view(-1), shift.contiguous().view(-1), True,
            )  # fmt: skip
            return x.view(n, c, *x.shape[2:]), style[:, 2 * self.channels :]

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 6), conv(6, 5), conv(5, 3)
        self.norms, self.style = nn.ModuleList([self.Norm(6), self.Norm(5)]), nn.Linear(8, 22)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        style = self.style(style)
        x, style = self.norms[0](self.first(x), style)
        x, style = self.norms[1](self.second(F.relu(x)), style)
        return self.last(F.relu(x))


class SlicedWeight(nn.Module):
    """Octave convolution's: quarters of one weight by a number that ties them."""

    def __init__(self) -> None:
        super().__init__()
        self.high, self.low, self.side = conv(3, 4), conv(3, 4), 4
        self.weight = nn.Parameter(torch.randn(8, 8, 3, 3))
        self.body, self.last = conv(8, 5), conv(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        high, low = F.relu(self.high(x)), F.relu(self.low(x))
        weight, side = self.weight, self.side
        up = F.conv2d(high, weight[side:, side:], padding=1)
        up = up + F.conv2d(low, weight[side:, :side], padding=1)
        down = F.conv2d(low, weight[:side, :side], padding=1)
        return self.last(F.relu(self.body(F.relu(torch.cat([up, down], 1)))))


class ChangedViews(nn.Module):
    """A sum in place into a view of something that nobody reads any more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 5), conv(5, 5), conv(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        out = self.second(F.relu(x)).flatten(2).unflatten(2, x.shape[2:])
        out += x
        return self.last(F.relu(out))
