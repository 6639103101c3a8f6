"""The fast neural style network (Johnson, Alahi, Fei-Fei, ECCV 2016), in its PyTorch form.

It differs from the paper by instance normalisation (Ulyanov et al. 2016) and padding by reflection.
Nearest upsampling with a convolution replaces transposed convolutions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gan_slimming.config import InputContract
from gan_slimming.errors import UserError
from gan_slimming.models.entry import Entry, StateDict, known, size

BLOCKS = 5


class PaddedConvolution(nn.Module):
    """Optional doubling by repeated pixels, padding by reflection, and a convolution."""

    def __init__(
        self, incoming: int, outgoing: int, kernel: int, stride: int = 1, double: bool = False
    ) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest") if double else None
        self.reflection_pad = nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(incoming, outgoing, kernel, stride)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, incoming, h, w) to outgoing channels, with h and w doubled or strided."""
        if self.upsample is not None:
            features = self.upsample(features)
        return self.conv2d(self.reflection_pad(features))


class ResidualBlock(nn.Module):
    """A residual block x + norm(conv(relu(norm(conv(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = PaddedConvolution(channels, channels, 3)
        self.in1 = nn.InstanceNorm2d(channels, affine=True)
        self.conv2 = PaddedConvolution(channels, channels, 3)
        self.in2 = nn.InstanceNorm2d(channels, affine=True)
        self.relu = nn.ReLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        inner = self.relu(self.in1(self.conv1(features)))
        return features + self.in2(self.conv2(inner))


class TransformerNet(nn.Module):
    """A generator from photo to painting, both (batch, 3, height, width), RGB in [0, 255].

    Height and width are multiples of 4, at least 8; other sizes are rounded up. The output is not
    bounded; values outside [0, 255] are clipped when an image is written.

    Args:
        width: channels at full resolution; the blocks have 4 * width.
    """

    contract = InputContract(low=0.0, high=255.0, multiple_of=4, min_size=8)

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width < 1:
            raise UserError(f"width must be at least 1, got {width}")
        half, quarter = 2 * width, 4 * width
        self.conv1 = PaddedConvolution(3, width, 9)
        self.in1 = nn.InstanceNorm2d(width, affine=True)
        self.conv2 = PaddedConvolution(width, half, 3, stride=2)
        self.in2 = nn.InstanceNorm2d(half, affine=True)
        self.conv3 = PaddedConvolution(half, quarter, 3, stride=2)
        self.in3 = nn.InstanceNorm2d(quarter, affine=True)
        for block in range(1, BLOCKS + 1):
            self.add_module(f"res{block}", ResidualBlock(quarter))
        self.deconv1 = PaddedConvolution(quarter, half, 3, double=True)
        self.in4 = nn.InstanceNorm2d(half, affine=True)
        self.deconv2 = PaddedConvolution(half, width, 3, double=True)
        self.in5 = nn.InstanceNorm2d(width, affine=True)
        self.deconv3 = PaddedConvolution(width, 3, 9)
        self.relu = nn.ReLU()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (batch, 3, height, width), RGB in [0, 255], to the same, not clipped."""
        features = self.relu(self.in1(self.conv1(images)))
        features = self.relu(self.in2(self.conv2(features)))
        features = self.relu(self.in3(self.conv3(features)))
        for block in range(1, BLOCKS + 1):
            features = self.get_submodule(f"res{block}")(features)
        features = self.relu(self.in4(self.deconv1(features)))
        features = self.relu(self.in5(self.deconv2(features)))
        return self.deconv3(features)


def infer_arguments(state: StateDict) -> dict[str, Any]:
    """Infer the width from a state dict, where possible."""
    return known(width=size(state, "conv1.conv2d.weight"))


ENTRIES = {
    "fast-style": Entry(
        "Fast neural style (Johnson et al. 2016), photo to painting, RGB in [0, 255]",
        TransformerNet,
        infer_arguments,
    ),
}
