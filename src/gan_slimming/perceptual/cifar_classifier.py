"""A classifier of CIFAR-10 as a feature network: ResNet of He et al. 2016, section 4.2.

Figures on it carry its name: they are no Inception Score and no FID. Layer names are those of the
usual PyTorch code (Idelbayev 2018): conv1, bn1, layer1.0.conv1 to layer3.N.bn2, linear.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.errors import UserError
from gan_slimming.perceptual.features import IMAGENET_MEAN, IMAGENET_STD

SIDE = 32
CLASSES = 10
FEATURES = 64
"""Length of a feature vector: the channels before the last layer."""
WIDTHS = (16, 32, 64)


class _Block(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + x), x at half the size with zeros for new channels."""

    def __init__(self, incoming: int, outgoing: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(incoming, outgoing, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outgoing)
        self.conv2 = nn.Conv2d(outgoing, outgoing, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outgoing)
        self.stride, self.more = stride, (outgoing - incoming) // 2

    def forward(self, values: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(values)))))
        if self.stride > 1:
            values = values[:, :, :: self.stride, :: self.stride]
            values = F.pad(values, (0, 0, 0, 0, self.more, self.more))
        return F.relu(inner + values)


class CifarClassifier(nn.Module):
    """Images (batch, 3, 32, 32), RGB in [0, 1], to features (batch, 64) and logits (batch, 10).

    Args:
        blocks: residual blocks of each of the three stages; 3 are ResNet-20, 9 ResNet-56.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        stages = []
        for place, width in enumerate(WIDTHS):
            before = WIDTHS[max(0, place - 1)]
            stages.append(
                nn.Sequential(
                    _Block(before, width, 2 if place else 1),
                    *(_Block(width, width, 1) for _ in range(blocks - 1)),
                )
            )
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits."""
        values = F.relu(self.bn1(self.conv1((images - self.mean) / self.std)))
        values = self.layer3(self.layer2(self.layer1(values))).mean(dim=(2, 3))
        return values, self.linear(values)


def cifar_classifier(state: Mapping[str, Tensor], name: str = "the file") -> CifarClassifier:
    """Return the classifier of a state dict, in evaluation mode; names may begin with 'module.'.

    Args:
        state: weights; the number of blocks follows from them.
        name: of the file, for errors.
    Raises:
        UserError: they are no such classifier's.
    """
    bare = {key.removeprefix("module."): value for key, value in state.items()}
    blocks = len({key.split(".")[1] for key in bare if key.startswith("layer1.")})
    network = CifarClassifier(max(1, blocks))
    try:
        network.load_state_dict(bare)
    except RuntimeError as error:
        raise UserError(
            f"{name} holds no ResNet of CIFAR-10 with 16, 32 and 64 channels; make one with "
            "benchmarks/cifar10_classifier.py"
        ) from error
    return network.eval().requires_grad_(False)
