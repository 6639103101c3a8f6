"""Networks from image to image, in the manner of published families, a few channels wide."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gan_slimming as gs
from gan_slimming.models.registry import build_generator


def resnet() -> nn.Module:
    """CycleGAN's residual generator (Zhu et al. 2017)."""
    return build_generator("cyclegan-6", width=16)


def unet() -> nn.Module:
    """pix2pix's U-Net with skips by concatenation (Isola et al. 2017)."""
    return build_generator("unet-128", width=8)


def mobile() -> nn.Module:
    """The same residual generator with separable convolutions (Li et al. 2020)."""
    return build_generator("cyclegan-mobile", width=16, blocks=3)


def norm_act(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution, an instance norm and a ReLU."""
    return nn.Sequential(
        nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride, bias=False),
        nn.InstanceNorm2d(outputs, affine=True), nn.ReLU(),
    )  # fmt: skip


class AdaLin(nn.Module):
    """Instance and layer norm, mixed by channel; scaled and shifted by the image's features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.full((1, channels, 1, 1), 0.9))

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        each = (x - x.mean((2, 3), True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt()
        whole = (x - x.mean((1, 2, 3), True)) / (x.var((1, 2, 3), keepdim=True) + 1e-5).sqrt()
        mixed = self.share * each + (1 - self.share) * whole
        return mixed * scale[:, :, None, None] + shift[:, :, None, None]


class Ugatit(nn.Module):
    """Attention by two class activation maps, then AdaLIN (U-GAT-IT, Kim et al. 2020).

    Returns the image and the classes' logits.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down = nn.Sequential(norm_act(3, width, 7), norm_act(width, width, 3, 2))
        self.mean_class = nn.Linear(width, 1, bias=False)
        self.most_class = nn.Linear(width, 1, bias=False)
        self.mix = nn.Conv2d(2 * width, width, 1)
        self.shared = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.scale, self.shift = nn.Linear(width, width), nn.Linear(width, width)
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), AdaLin(width)
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2), norm_act(width, width),
            nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh(),
        )  # fmt: skip

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.down(image)
        mean, most = x.mean((2, 3)), x.amax((2, 3))
        logits = torch.cat([self.mean_class(mean), self.most_class(most)], 1)
        seen = [x * layer.weight[:, :, None, None] for layer in (self.mean_class, self.most_class)]
        x = F.relu(self.mix(torch.cat(seen, 1)))
        style = self.shared(x.mean((2, 3)))
        return self.up(
            F.relu(self.norm(self.conv(x), self.scale(style), self.shift(style)))
        ), logits


class StarGan(nn.Module):
    """A label, spread over the image, is a part of the input (StarGAN, Choi et al. 2018)."""

    def __init__(self, width: int = 16, labels: int = 5) -> None:
        super().__init__()
        self.contract = gs.InputContract(extras=(gs.ExtraInput("label", labels),))
        self.main = nn.Sequential(
            norm_act(3 + labels, width, 7), norm_act(width, 2 * width, 3, 2),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            nn.InstanceNorm2d(width, affine=True, track_running_stats=True), nn.ReLU(),
            nn.Conv2d(width, 3, 7, padding=3), nn.Tanh(),
        )  # fmt: skip

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        spread = label[:, :, None, None].expand(-1, -1, image.shape[2], image.shape[3])
        return self.main(torch.cat([image, spread], 1))


class AdaIn(nn.Module):
    """Statistics of the content replaced by those that a style names (Huang & Belongie 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.norm = nn.InstanceNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        assert self.weight is not None, "the style comes first"
        assert self.bias is not None, "the style comes first"
        return self.norm(x) * self.weight[:, :, None, None] + self.bias[:, :, None, None]


class Munit(nn.Module):
    """The content of one image in the style of another (MUNIT, Huang et al. 2018).

    The style's numbers are written into the norms before the decoder runs.
    """

    contract = gs.InputContract(extras=(gs.ExtraInput("image"),))

    def __init__(self, width: int = 16, style: int = 8) -> None:
        super().__init__()
        self.content = nn.Sequential(norm_act(3, width, 7), norm_act(width, width, 3, 2))
        self.style = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, style, 1),
        )  # fmt: skip
        self.numbers = nn.Sequential(nn.Linear(style, 24), nn.ReLU(), nn.Linear(24, 4 * width))
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(AdaIn(width) for _ in range(2))
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2), norm_act(width, width), nn.Conv2d(width, 3, 1), nn.Tanh()
        )

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        x, numbers = self.content(image), self.numbers(self.style(reference).flatten(1))
        for norm, part in zip(self.norms, numbers.chunk(2, 1), strict=True):
            norm.weight, norm.bias = part.chunk(2, 1)
        for conv, norm in zip(self.convolutions, self.norms, strict=True):
            x = x + F.relu(norm(conv(x)))
        return self.up(x)
