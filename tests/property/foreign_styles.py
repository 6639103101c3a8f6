"""Foreign nets that take noise, styles or classes, or look at all pixels at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tests.property.foreign_images import conv
from torch import Tensor, nn


class LinearToImage(nn.Module):
    """SNGAN's first layer: a vector becomes rows of a small image; running BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 6 * 4 * 4)
        self.norm, self.body = nn.BatchNorm2d(6), conv(6, 5)
        self.last = conv(5, 3)

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z).view(z.shape[0], -1, 4, 4)
        x = F.interpolate(F.relu(self.norm(x)), scale_factor=2)
        return torch.tanh(self.last(F.relu(self.body(x))))


def unflattened() -> nn.Module:
    """The same without a norm, by nn.Unflatten, which remembers its channels."""
    return nn.Sequential(
        nn.Linear(8, 7 * 3 * 3), nn.Unflatten(1, (7, 3, 3)), nn.ReLU(),
        nn.ConvTranspose2d(7, 4, 4, 2, 1), nn.LeakyReLU(0.1), nn.Conv2d(4, 3, 1),
    )  # fmt: skip


class NamedView(nn.Module):
    """A view that names its number of channels: held, the rest is slimmed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.body, self.last = nn.Linear(8, 96), conv(6, 5), conv(5, 3)

    def forward(self, z: Tensor) -> Tensor:
        return self.last(F.relu(self.body(F.relu(self.first(z).view(-1, 6, 4, 4)))))


class AdaIN(nn.Module):
    """Scale and shift from a Linear of the style, by chunk, on an InstanceNorm without affine."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = conv(3, 6), conv(6, 5), conv(5, 3)
        self.norms = nn.ModuleList([nn.InstanceNorm2d(6), nn.InstanceNorm2d(5)])
        self.styles = nn.ModuleList([nn.Linear(8, 12), nn.Linear(8, 10)])
        self.mapping = nn.Sequential(nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 8), nn.ReLU())

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        style = self.mapping(style)
        for number, layer in enumerate((self.first, self.second)):
            scale, shift = self.styles[number](style).chunk(2, dim=1)
            x = self.norms[number](layer(x))
            x = F.leaky_relu(x * (1 + scale[..., None, None]) + shift[..., None, None], 0.2)
        return self.last(x)


class ViewedAdaIN(nn.Module):
    """StarGAN's: h.view(n, 2, -1, 1, 1), entries of the second axis; by-hand statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.style = conv(3, 6), conv(6, 3), nn.Linear(8, 12)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.first(x)
        mean = x.mean(dim=(2, 3), keepdim=True)
        variance = x.var(dim=(2, 3), keepdim=True, unbiased=False)
        x = (x - mean) / torch.sqrt(variance + 1e-5)
        h = self.style(style).view(style.shape[0], 2, -1, 1, 1)
        return self.last(F.relu((1 + h[:, 0]) * x + h[:, 1]))


class ConditionalBatchNorm(nn.Module):
    """BatchNorm without affine, scale and shift from embeddings of the class; latent to image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 6 * 16)
        self.norm, self.body = nn.BatchNorm2d(6, affine=False), conv(6, 5)
        self.scale, self.shift = nn.Embedding(4, 6), nn.Embedding(4, 6)
        self.last = conv(5, 3)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        x = self.norm(self.first(z).reshape(z.shape[0], -1, 4, 4))
        x = self.scale(label)[:, :, None, None] * x + self.shift(label)[:, :, None, None]
        return self.last(F.relu(self.body(F.relu(x))))


class OneEmbedding(nn.Module):
    """The same with one embedding of twice the channels, halves by slices."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = conv(3, 6), nn.BatchNorm2d(6, affine=False)
        self.embedding, self.last = nn.Embedding(4, 12), conv(6, 3)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        h = self.embedding(label).unsqueeze(-1).unsqueeze(-1)
        half = h.shape[1] // 2
        return self.last(F.relu(self.norm(self.first(x)) * (1 + h[:, :half]) + h[:, half:]))


class SelfAttention(nn.Module):
    """SAGAN's: 1x1 convolutions to q, k, v, bmm, softmax, gamma."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 8), conv(8, 3)
        self.query, self.key, self.value = (nn.Conv2d(8, n, 1) for n in (4, 4, 6))
        self.project = nn.Conv2d(6, 8, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        n, _, height, width = x.shape
        q = self.query(x).view(n, -1, height * width).permute(0, 2, 1)
        k = self.key(x).view(n, -1, height * width)
        attention = F.softmax(torch.bmm(q, k), dim=-1)
        v = self.value(x).view(n, -1, height * width)
        v = torch.bmm(v, attention.permute(0, 2, 1)).view(n, -1, height, width)
        return self.last(self.gamma * self.project(v) + x)


class Tokens(nn.Module):
    """A transformer's block: tokens, Linear on the last axis, LayerNorm, einsum, GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 6), conv(6, 3)
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 9), nn.Linear(9, 6)
        self.q, self.k, self.v, self.o = (nn.Linear(6, 5) for _ in range(4))
        self.o = nn.Linear(5, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, _, height, width = x.shape
        t = x.flatten(2).transpose(1, 2)
        weights = torch.softmax(torch.einsum("nid,njd->nij", self.q(t), self.k(t)), dim=-1)
        t = t + self.o(torch.einsum("nij,njd->nid", weights, self.v(t)))
        t = t + self.down(F.gelu(self.up(self.norm(t))))
        return self.last(t.transpose(1, 2).reshape(n, -1, height, width))


class FusedAttention(nn.Module):
    """scaled_dot_product_attention with heads: q and k stay, because its scale counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 6), conv(6, 3)
        self.q, self.k, self.v, self.o = (nn.Linear(6, 8) for _ in range(4))
        self.o = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        _, _, height, width = x.shape
        t = x.flatten(2).transpose(1, 2)
        heads = [layer(t).unflatten(-1, (2, -1)).transpose(1, 2) for layer in (self.q, self.k)]
        v = self.v(t).unflatten(-1, (2, -1)).transpose(1, 2)
        t = F.scaled_dot_product_attention(heads[0], heads[1], v).transpose(1, 2).flatten(2)
        return self.last(self.o(t).transpose(1, 2).unflatten(2, (height, width)) + x)


class MultiHead(nn.Module):
    """nn.MultiheadAttention, which stays whole, between convolutions that do not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.body, self.last = conv(3, 6), conv(6, 5), conv(5, 3)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        t = x.flatten(2).transpose(1, 2)
        t = self.attention(t, t, t, need_weights=False)[0]
        x = x + t.transpose(1, 2).reshape(x.shape)
        return self.last(F.relu(self.body(x)))


class Modulated(nn.Module):
    """StyleGAN2's modulated convolution, demodulated, for a batch by groups."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, 3, 3))
        self.style = nn.Linear(8, inputs)
        self.strength = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n, _, height, width = x.shape
        weight = self.weight * self.style(w).view(n, 1, -1, 1, 1)
        weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4], keepdim=True) + 1e-8)
        x = F.conv2d(
            x.reshape(1, -1, height, width), weight.flatten(0, 1), padding=1, groups=n
        ).view(n, -1, height, width)
        noise = torch.linspace(-1, 1, width, dtype=x.dtype)
        return F.leaky_relu(x + self.strength * noise + self.bias.view(1, -1, 1, 1), 0.2)


class StyleGan(nn.Module):
    """A learnt constant, modulated convolutions, noise, a mapping network, skips to RGB."""

    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(8, 7), nn.LeakyReLU(0.2), nn.Linear(7, 8))
        self.constant = nn.Parameter(torch.randn(1, 6, 4, 4))
        self.one, self.two = Modulated(6, 6), Modulated(6, 5)
        self.rgb_one, self.rgb_two = nn.Conv2d(6, 3, 1), nn.Conv2d(5, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        w = self.mapping(z)
        x = self.one(self.constant.expand(z.shape[0], -1, -1, -1), w)
        image = self.rgb_one(x)
        x = self.two(F.interpolate(x, scale_factor=2, mode="bilinear"), w)
        return F.interpolate(image, scale_factor=2, mode="bicubic") + self.rgb_two(x)


class ManyEnds(nn.Module):
    """Two images and a class in, a tuple of an image, a mask and a latent out."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.join = conv(3, 5), conv(3, 4), conv(9, 6)
        self.label = nn.Embedding(4, 6)
        self.image, self.mask, self.code = conv(6, 3), conv(6, 1), nn.Linear(6, 2)

    def forward(self, x: Tensor, style: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.cat([F.relu(self.left(x)), F.relu(self.right(style))], dim=1)
        x = F.relu(self.join(x) + self.label(label)[..., None, None])
        image, mask = torch.tanh(self.image(x)), torch.sigmoid(self.mask(x))
        return image * mask, mask, self.code(x.amax(dim=(2, 3)))


class Encoder(nn.Module):
    """An auto-encoder: an image is flattened to a Linear, and comes back from one."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(conv(3, 4, stride=2), nn.BatchNorm2d(4), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.code, self.back = nn.Linear(4 * 16, 7), nn.Linear(7, 5 * 16)
        self.last = conv(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        code = F.relu(self.code(torch.flatten(self.pool(self.down(x)), 1)))
        x = self.back(code).reshape(x.shape[0], -1, 4, 4)
        return self.last(F.interpolate(F.relu(x), scale_factor=4))


class ChannelsLast(nn.Module):
    """A Linear that is viewed as pixels by channels, and permuted."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.body, self.last = nn.Linear(8, 16 * 6), nn.Linear(6, 5), conv(5, 3)

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.body(F.relu(self.first(z).view(z.shape[0], 16, -1))))
        return self.last(x.permute(0, 2, 1).unflatten(2, (4, 4)))
