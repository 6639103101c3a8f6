"""The Inception network of 2015, which defines FID, KID and the Inception Score.

It is TensorFlow's published graph inception-2015-12-05 (Szegedy et al. 2016, 1008 classes). Layer
names are those of its PyTorch port, pt_inception-2015-12-05. It differs from later Inceptions:
average pools leave padding out, and the last block has a maximum pool. Images are resized to
299 x 299 by TensorFlow's bilinear rule of that time, with neither centred pixels nor antialiasing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.errors import UserError

SIDE = 299
CLASSES = 1008
FEATURES = 2048
RESIZE = "299x299, bilinear as in TensorFlow 1 (no antialias), from 8-bit values"

Kernel = int | tuple[int, int]
Step = tuple[str, int, Kernel]
"""Name, channels and kernel of a convolution."""
Chain = tuple[Step | list[Step], ...]
"""Convolutions in sequence; those of a list run in parallel, their outputs concatenated."""


class InceptionFeatures(nn.Module):
    """A frozen network from images to features and class scores.

    Args:
        state: tensors under the port's names, such as 'Mixed_5b.branch1x1.conv.weight'.
    Raises:
        UserError: a tensor is missing or has another shape, as in torchvision's Inception.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, stride=2, padding=0)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = _Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3, padding=0)
        for name, inputs, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
            self.add_module(f"Mixed_{name}", _Mixed(inputs, _coarse(), "average", pooled))
        self.add_module("Mixed_6a", _Mixed(288, _first_reduction(), "halve"))
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            self.add_module(f"Mixed_{name}", _Mixed(768, _seven(width), "average", 192))
        self.add_module("Mixed_7a", _Mixed(768, _second_reduction(), "halve"))
        self.add_module("Mixed_7b", _Mixed(1280, _wide(), "average", 192))
        self.add_module("Mixed_7c", _Mixed(2048, _wide(), "maximum", 192))
        self.fc = nn.Linear(FEATURES, CLASSES)
        self._fill(state)

    def _fill(self, state: Mapping[str, Tensor]) -> None:
        own = self.state_dict()
        for name, tensor in own.items():
            if name.endswith("num_batches_tracked"):
                continue
            came = tuple(state[name].shape) if name in state else "nothing"
            if came != tuple(tensor.shape):
                hint = "torchvision's has 1000 classes and other pools" if "fc." in name else ""
                raise UserError(
                    f"this is not the Inception network of FID: {name} must be "
                    f"{tuple(tensor.shape)}, got {came}; give pt_inception-2015-12-05-6726825d.pth"
                    + (f" ({hint})" if hint else "")
                )
        kept = {name: state.get(name, own[name]) for name in own}
        self.load_state_dict(kept)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (batch, 2048) and class scores (batch, 1008) without the last bias.

        The published Inception Score never adds this bias.

        Args:
            images: (batch, 3, height, width), RGB in [-1, 1]; rounded to 8 bits first.
        """
        levels = ((images.float().clamp(-1, 1) + 1) * 127.5).round()
        values = (tensorflow_resize(levels, SIDE) - 128) / 128
        values = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(values)))
        values = F.max_pool2d(values, 3, stride=2)
        values = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(values))
        values = F.max_pool2d(values, 3, stride=2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                values = block(values)
        features = values.mean(dim=(2, 3))
        return features, features @ self.fc.weight.T


class _Unit(nn.Module):
    """A convolution with batch normalisation and ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, padding: int | None = None
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (sides[0] // 2, sides[1] // 2) if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, sides, stride, around, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, values: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(values)), inplace=True)


class _Mixed(nn.Module):
    """A block of parallel chains of convolutions and a pool, their outputs concatenated.

    Args:
        inputs: input channels.
        chains: the chains.
        pool: 'average' or 'maximum' of 3x3, followed by a convolution; 'halve' has stride 2 in the
            pool and in the last convolution of each chain.
        pooled: channels of the pool's convolution.
    """

    def __init__(self, inputs: int, chains: tuple[Chain, ...], pool: str, pooled: int = 0) -> None:
        super().__init__()
        self.chains, self.pool = chains, pool
        for chain in chains:
            width = inputs
            for place, entry in enumerate(chain):
                last = pool == "halve" and place == len(chain) - 1
                for name, outputs, kernel in _alternatives(entry):
                    self.add_module(name, _Unit(width, outputs, kernel, *((2, 0) if last else ())))
                width = sum(outputs for _, outputs, _ in _alternatives(entry))
        if pooled:
            self.branch_pool = _Unit(inputs, pooled, 1)

    def forward(self, values: Tensor) -> Tensor:
        found = [self._run(chain, values) for chain in self.chains]
        if self.pool == "halve":
            return torch.cat([*found, F.max_pool2d(values, 3, stride=2)], dim=1)
        if self.pool == "average":
            pooled = F.avg_pool2d(values, 3, stride=1, padding=1, count_include_pad=False)
        else:
            pooled = F.max_pool2d(values, 3, stride=1, padding=1)
        return torch.cat([*found, self.branch_pool(pooled)], dim=1)

    def _run(self, chain: Chain, values: Tensor) -> Tensor:
        for entry in chain:
            found = [self.get_submodule(name)(values) for name, _, _ in _alternatives(entry)]
            values = torch.cat(found, dim=1)
        return values


def _alternatives(entry: Step | list[Step]) -> list[Step]:
    return entry if isinstance(entry, list) else [entry]


def _coarse() -> tuple[Chain, ...]:
    """Return the chains of blocks at 35 x 35."""
    return (
        (("branch1x1", 64, 1),),
        (("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
        (("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
    )


def _first_reduction() -> tuple[Chain, ...]:
    """Return the chains of the block from 35 x 35 to 17 x 17."""
    return (
        (("branch3x3", 384, 3),),
        (("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
    )


def _seven(width: int) -> tuple[Chain, ...]:
    """Return the chains of blocks at 17 x 17, with 7 x 7 kernels split in two."""
    across, down = (1, 7), (7, 1)
    return (
        (("branch1x1", 192, 1),),
        (("branch7x7_1", width, 1), ("branch7x7_2", width, across), ("branch7x7_3", 192, down)),
        (
            ("branch7x7dbl_1", width, 1),
            ("branch7x7dbl_2", width, down),
            ("branch7x7dbl_3", width, across),
            ("branch7x7dbl_4", width, down),
            ("branch7x7dbl_5", 192, across),
        ),
    )


def _second_reduction() -> tuple[Chain, ...]:
    """Return the chains of the block from 17 x 17 to 8 x 8."""
    return (
        (("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)),
        (
            ("branch7x7x3_1", 192, 1),
            ("branch7x7x3_2", 192, (1, 7)),
            ("branch7x7x3_3", 192, (7, 1)),
            ("branch7x7x3_4", 192, 3),
        ),
    )


def _wide() -> tuple[Chain, ...]:
    """Return the chains of blocks at 8 x 8, which fork."""
    return (
        (("branch1x1", 320, 1),),
        (
            ("branch3x3_1", 384, 1),
            [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))],
        ),
        (
            ("branch3x3dbl_1", 448, 1),
            ("branch3x3dbl_2", 384, 3),
            [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))],
        ),
    )


def tensorflow_resize(images: Tensor, side: int) -> Tensor:
    """Return images (batch, channels, side, side) resized as TensorFlow 1 did by default.

    Output pixel i lies at position i * length / side of the input and interpolates its two
    neighbours. Beyond the last pixel, the last is repeated.
    """
    for dim in (3, 2):
        length = images.shape[dim]
        # In float32 like the original: a position just below a whole number matters.
        places = torch.arange(side, dtype=torch.float32, device=images.device)
        places = places * torch.tensor(length / side, dtype=torch.float32)
        low = places.long()
        high = (low + 1).clamp_max(length - 1)
        shape = [1, 1, 1, 1]
        shape[dim] = side
        share = (places - low.float()).view(shape).to(images.dtype)
        near, far = images.index_select(dim, low), images.index_select(dim, high)
        images = near + (far - near) * share
    return images
