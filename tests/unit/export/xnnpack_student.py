"""A net with the layers that XNNPACK needs in other forms, quantised."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gan_slimming as gs
from gan_slimming.config import InputContract


class Net(nn.Module):
    """Pads of three kinds, a stride, a norm, a residual, a transposed convolution, a shuffle."""

    contract = InputContract(multiple_of=2)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3)
        self.norm = nn.InstanceNorm2d(6, affine=True)
        self.down = nn.Conv2d(6, 8, 3, stride=2, padding=1, bias=False)
        self.inner = nn.Conv2d(8, 8, 3)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 8, 3, stride=2, padding=1, output_padding=1)
        self.last = nn.Conv2d(8, 12, 1)

    def forward(self, image: Tensor) -> Tensor:
        values = self.first(F.pad(image, (1, 1, 1, 1), mode="reflect"))
        values = torch.relu(self.norm(values))
        values = torch.relu(self.down(values))
        values = values + self.inner(F.pad(values, (1, 1, 1, 1), mode="replicate"))
        values = torch.relu(self.up(self.depthwise(values)))
        return torch.tanh(F.avg_pool2d(F.pixel_shuffle(self.last(values), 2), 2))


def made(**how: Any) -> nn.Module:
    """Return it, calibrated; `how` goes to prepare."""
    torch.manual_seed(0)
    net = Net()
    for name, parameter in net.named_parameters():
        nn.init.normal_(parameter, mean=float("norm.weight" in name), std=0.3)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    prepared = gs.prepare(net.eval(), (images[:1],), **how)
    gs.calibrate(prepared, [(images,)])
    return gs.extract(prepared)
