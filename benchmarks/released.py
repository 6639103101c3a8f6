"""The paper's released procedure, plainly: nothing is cut while it trains.

Least-squares GAN with a replay buffer of 50; the distillation of VGG-16 (L1 of relu1_2, and 1e5
times the distances of Gram matrices) with weight 20; weights by Adam 1e-5 with decay 1e-3, gammas
by SGD 0.1 with momentum 0.5 and soft thresholding; weights and the inputs of convolutions in 8
bits, inputs clamped to [0, 4], the image itself not (Wang et al., GAN Slimming, ECCV 2020).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gan_slimming.data.square_images import read_square
from gan_slimming.losses.adversarial import ReplayBuffer, discriminator_loss, generator_loss
from gan_slimming.losses.perceptual import paper_perceptual
from gan_slimming.models.patchgan import PatchDiscriminator
from gan_slimming.perceptual.features import Vgg16Features

RANGE = 4.0
"""Upper end of a quantised activation."""
BETA, RHO, RATE = 20.0, 0.01, 0.1
_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


class Released:
    """Teacher, student, discriminator and optimisers of one run."""

    def __init__(self, teacher: nn.Module) -> None:
        self.student = copy.deepcopy(teacher).train().requires_grad_(True)
        quantise(self.student)
        self.gammas = [
            m.weight for m in self.student.modules()
            if isinstance(m, nn.InstanceNorm2d) and m.weight is not None
        ]  # fmt: skip
        scales = set(map(id, self.gammas))
        weights = [p for p in self.student.parameters() if id(p) not in scales]
        self.discriminator = PatchDiscriminator()
        self.buffer = ReplayBuffer(50)
        self.features = Vgg16Features(_random_vgg()).requires_grad_(False)
        settings: dict[str, Any] = {"lr": 1e-5, "betas": (0.5, 0.999), "weight_decay": 1e-3}
        self.optimizers = [
            torch.optim.Adam(weights, **settings), torch.optim.SGD(self.gammas, RATE, 0.5),
        ]  # fmt: skip
        self.other = torch.optim.Adam(self.discriminator.parameters(), **settings)

    def step(self, photos: Tensor, answers: Tensor, real: Tensor) -> None:
        """Take one step of the student, then one of the discriminator.

        Args:
            photos: (batch, 3, height, width) in [-1, 1].
            answers: the teacher's images of them, kept from before training.
            real: images that the discriminator takes for real.
        """
        self.discriminator.requires_grad_(False)
        fake = self.student(photos)
        loss = generator_loss("lsgan", self.discriminator(fake))
        loss = loss + BETA * paper_perceptual(fake, answers, self.features)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            for gamma in self.gammas:
                gamma.copy_(gamma.sign() * (gamma.abs() - RHO * RATE).clamp_min(0))
        self.discriminator.requires_grad_(True)
        kept = self.buffer.exchange(fake)
        discriminator_loss("lsgan", self.discriminator(real), self.discriminator(kept)).backward()
        self.other.step()
        self.other.zero_grad()


class _WeightCodes(nn.Module):
    """Weights on a grid of 8 bits, symmetric, by the largest; gradients pass straight through."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().abs().max() / 127
        return weight + ((weight / scale).round() * scale - weight).detach()


def quantise(student: nn.Module) -> None:
    """Give every convolution quantised weights, and all but the first quantised inputs."""

    def rounded(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        clamped = inputs[0].clamp(0, RANGE)
        codes = (clamped * (255 / RANGE)).round() * (RANGE / 255)
        return (clamped + (codes - clamped).detach(),)

    layers = [m for m in student.modules() if isinstance(m, _CONVOLUTIONS)]
    for place, layer in enumerate(layers):
        parametrize.register_parametrization(layer, "weight", _WeightCodes())
        if place:
            layer.register_forward_pre_hook(rounded)


def load_photos(paths: Sequence[Path], size: int) -> Tensor:
    """Return photos (count, 3, size, size) in [-1, 1]."""
    return torch.stack([read_square(path, size)[0].float() / 127.5 - 1 for path in paths])


def _random_vgg() -> dict[str, Tensor]:
    """Return weights of VGG-16's shapes; time does not depend on their values."""
    state, place, inputs = {}, 0, 3
    for block in ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512)):
        for outputs in block:
            state[f"features.{place}.weight"] = F.normalize(
                torch.randn(outputs, inputs, 3, 3), dim=1
            )
            state[f"features.{place}.bias"] = torch.zeros(outputs)
            place, inputs = place + 2, outputs
        place += 1
    return state
