"""Generators put together at random from blocks of every construction."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
import torch.nn.functional as F
from tests.property.random_habits import habits
from torch import Tensor, nn
from torch.nn.utils import parametrizations

STYLE = 5
"""Length of the style vector that every random net takes beside its image."""


class Block(nn.Module):
    """A feature map and a style in, a feature map of `outputs` channels out."""

    def __init__(self, outputs: int):
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        raise NotImplementedError


class Plain(Block):
    """Any chain of layers that looks at no style."""

    def __init__(self, outputs: int, *layers: nn.Module):
        super().__init__(outputs)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self.layers(x)


class Habit(Block):
    """A block with a habit of published code."""

    def __init__(self, outputs: int, inner: nn.Module):
        super().__init__(outputs)
        self.inner = inner

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self.inner(x, style)


class Residual(Block):
    """x + block(x), the width restored by a 1x1 convolution."""

    def __init__(self, width: int, inner: Block):
        super().__init__(width)
        self.inner, self.back = inner, nn.Conv2d(inner.outputs, width, 1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return x + self.back(self.inner(x, style))


class Concatenated(Block):
    """cat(x, block(x)), once or twice."""

    def __init__(self, width: int, inner: Block, again: bool):
        super().__init__((2 if again else 1) * width + inner.outputs)
        self.inner, self.again = inner, again

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        parts = [x, self.inner(x, style)]
        return torch.cat([*parts, x] if self.again else parts, dim=1)


class Twice(Block):
    """The same block called twice, on a map of its own width."""

    def __init__(self, width: int, inner: Block):
        super().__init__(width)
        self.inner, self.back = inner, nn.Conv2d(inner.outputs, width, 1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        for _ in range(2):
            x = F.relu(self.back(self.inner(x, style)))
        return x


class Modulation(Block):
    """Scale and shift by a Linear of the style, halves by chunk, view or slices."""

    def __init__(self, width: int, how: int, norm: nn.Module):
        super().__init__(width)
        self.norm, self.linear, self.how = norm, nn.Linear(STYLE, 2 * width), how

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        h = self.linear(style)
        if self.how == 0:
            scale, shift = h.chunk(2, dim=1)
        elif self.how == 1:
            scale, shift = h.view(h.shape[0], 2, -1).unbind(1)
        else:
            scale, shift = h[:, : h.shape[1] // 2], h[:, h.shape[1] // 2 :]
        return F.relu(self.norm(x) * (1 + scale[..., None, None]) + shift[..., None, None])


class Excite(Block):
    """Squeeze and excitation."""

    def __init__(self, width: int):
        super().__init__(width)
        self.down, self.up = nn.Linear(width, 4), nn.Linear(4, width)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return x * scale[:, :, None, None]


class Attention(Block):
    """Self-attention over pixels, added."""

    def __init__(self, width: int, inner: int):
        super().__init__(width)
        self.q, self.k, self.v = (nn.Conv2d(width, inner, 1) for _ in range(3))
        self.o, self.gamma = nn.Conv2d(inner, width, 1), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        q, k, v = (layer(x).flatten(2) for layer in (self.q, self.k, self.v))
        weights = torch.softmax(q.transpose(1, 2) @ k / 2, dim=-1)
        y = (v @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.o(y)


class Mixer(Block):
    """Linear layers on tokens, with or without LayerNorm."""

    def __init__(self, width: int, inner: int, norm: bool):
        super().__init__(width)
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        t = x.permute(0, 2, 3, 1)
        return (t + self.down(F.gelu(self.up(self.norm(t))))).permute(0, 3, 1, 2)


class OverChannels(nn.Module):
    """LayerNorm over the channels of a feature map, as ConvNeXt has it."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Functional(Block):
    """F.conv2d with a scaled parameter of the module."""

    def __init__(self, width: int, outputs: int, bias: bool):
        super().__init__(outputs)
        self.kernel = nn.Parameter(torch.randn(outputs, width, 3, 3))
        self.shift = nn.Parameter(torch.randn(outputs)) if bias else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return F.leaky_relu(F.conv2d(x, self.kernel * 0.3, self.shift, padding=1), 0.2)


class ByHand(Block):
    """Norms, blurs, shuffles and other things that people write by hand."""

    def __init__(self, width: int, what: int):
        super().__init__(width)
        self.what = what
        self.scale = nn.Parameter(torch.randn(1, width, 1, 1))
        self.register_buffer("kernel", torch.full((1, 1, 3, 3), 1 / 9))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        kernel = self.get_buffer("kernel")
        if self.what == 0:
            mean, var = x.mean((2, 3), True), x.var((2, 3), keepdim=True)
            return self.scale * (x - mean) * torch.rsqrt(var + 1e-5)
        if self.what == 1:
            weight = kernel.repeat(x.shape[1], 1, 1, 1)
            return F.conv2d(x, weight, padding=1, groups=x.shape[1])
        if self.what == 2:
            rows = torch.linspace(-1, 1, x.shape[3], dtype=x.dtype)
            return F.leaky_relu(x + self.scale * rows, 0.2)
        if self.what == 3:
            return F.normalize(x, dim=1) + x.flip(2).roll(1, 3)
        if self.what == 4:
            return torch.stack([x, x.clamp(-1, 1) * self.scale], 1).sum(1)
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-8)


def draw(rng: random.Random, width: int, depth: int = 0) -> Block:
    """One block for feature maps of this width."""
    wide = rng.randint(2, 7)
    makers: list[Callable[[], Block]] = [
        lambda: Plain(wide, _conv(rng, width, wide), *_norm(rng, wide), _activation(rng, wide)),
        lambda: Plain(wide, nn.Conv2d(width, wide, 3, padding=1, groups=1), _activation(rng, wide)),
        lambda: Plain(
            width,
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=rng.random() < 0.5),
            nn.ReLU6(),
        ),
        lambda: Plain(wide, nn.ConvTranspose2d(width, wide, 4, 2, 1), nn.AvgPool2d(2)),
        lambda: Plain(wide, _conv(rng, width, 4 * wide), nn.PixelShuffle(2), nn.MaxPool2d(2)),
        lambda: Plain(
            wide,
            nn.PixelUnshuffle(2),
            _conv(rng, 4 * width, wide),
            nn.Upsample(scale_factor=2, mode=rng.choice(["nearest", "bilinear", "bicubic"])),
        ),
        lambda: Plain(wide, _conv(rng, width, 2 * wide), nn.GLU(dim=1)),
        lambda: Plain(
            2 * wide,
            _conv(rng, width, 2 * wide),
            nn.GroupNorm(wide, 2 * wide),
            nn.Conv2d(2 * wide, 2 * wide, 3, padding=1, groups=2),
        ),
        lambda: Modulation(
            width,
            rng.randint(0, 2),
            rng.choice(
                [
                    nn.InstanceNorm2d(width),
                    nn.BatchNorm2d(width),
                    nn.BatchNorm2d(width, affine=False),
                ]
            ),
        ),
        lambda: Excite(width),
        lambda: Attention(width, wide),
        lambda: Mixer(width, wide, rng.random() < 0.5),
        lambda: Functional(width, wide, rng.random() < 0.5),
        lambda: ByHand(width, rng.randint(0, 5)),
    ]
    for outputs, maker in habits(rng, width, STYLE):
        makers.append(lambda outputs=outputs, maker=maker: Habit(outputs, maker()))
    nested: list[Callable[[], Block]] = [
        lambda: Residual(width, draw(rng, width, depth + 1)),
        lambda: Concatenated(width, draw(rng, width, depth + 1), rng.random() < 0.3),
        lambda: Twice(width, draw(rng, width, depth + 1)),
    ]
    return rng.choice(makers + (nested * 3 if depth < 2 else []))()


def _conv(rng: random.Random, inputs: int, outputs: int) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=rng.random() < 0.7,
                      padding_mode=rng.choice(["zeros", "reflect"]))  # fmt: skip
    if rng.random() < 0.1:
        return parametrizations.spectral_norm(layer)
    return parametrizations.weight_norm(layer) if rng.random() < 0.1 else layer


def _norm(rng: random.Random, width: int) -> list[nn.Module]:
    return rng.choice([
        [], [nn.BatchNorm2d(width)], [nn.InstanceNorm2d(width)], [nn.GroupNorm(width, width)],
        [nn.InstanceNorm2d(width, affine=True)], [nn.GroupNorm(1, width)],
        [nn.GroupNorm(1, width, affine=False)], [OverChannels(width)],
        [nn.BatchNorm2d(width, track_running_stats=False)],
    ])  # fmt: skip


def _activation(rng: random.Random, width: int) -> nn.Module:
    return rng.choice([
        nn.ReLU(), nn.LeakyReLU(0.2), nn.PReLU(width), nn.PReLU(), nn.ELU(), nn.SiLU(), nn.Tanh(),
        nn.GELU(), nn.ReLU(inplace=True), nn.Softplus(), nn.Hardswish(),
    ])  # fmt: skip


class RandomNet(nn.Module):
    """Two to six random blocks between two convolutions, any of them skipped to the end."""

    def __init__(self, seed: int):
        super().__init__()
        rng = random.Random(seed)
        width = rng.randint(3, 7)
        self.first, self.blocks = nn.Conv2d(3, width, 3, padding=1), nn.ModuleList()
        first = width
        for _ in range(rng.randint(2, 6)):
            block = draw(rng, width)
            self.blocks.append(block)
            width = block.outputs
        self.skip = rng.random() < 0.3
        self.last = nn.Conv2d(width + (first if self.skip else 0), 3, 1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(batch, 3, height, width), (batch, STYLE) -> (batch, 3, height, width)."""
        start = x = self.first(x)
        for block in self.blocks:
            x = block(x, style)
        return self.last(torch.cat([x, start], 1) if self.skip else x)
