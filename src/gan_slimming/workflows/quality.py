"""What training minimises and what it is judged by: distances between student and teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract, Objective
from gan_slimming.data.images import PictureSet
from gan_slimming.data.pictures import from_contract, to_contract
from gan_slimming.losses.encoder import EncoderFeatures
from gan_slimming.losses.perceptual import content_and_gram, multiscale_l1, paper_perceptual
from gan_slimming.metrics.features import load_features
from gan_slimming.metrics.lpips import Lpips, load_lpips
from gan_slimming.metrics.pairwise import psnr
from gan_slimming.metrics.weights import find_weights
from gan_slimming.objective import Distance

Generate = Callable[[Tensor], Tensor]
"""Pictures (batch, 3, height, width) RGB in [-1, 1] -> the same."""


def border(contract: InputContract) -> Callable[[nn.Module], Generate]:
    """Wraps generators so that they take and give RGB in [-1, 1]."""

    def wrap(module: nn.Module) -> Generate:
        return lambda pictures: from_contract(module(to_contract(pictures, contract)), contract)

    return wrap


def lpips_at_hand() -> Lpips | None:
    """LPIPS-squeeze if its weights are on this machine; nothing is downloaded for it."""
    if find_weights("squeezenet") is None or find_weights("lpips") is None:
        return None
    return load_lpips(download=False)


def distance_of(
    objective: Objective, teacher: nn.Module, contract: InputContract, device: torch.device
) -> tuple[str, Distance]:
    """(name, d): the distance of the objective; 'auto' takes the best that is at hand.

    Raises:
        UserError: its weights are not on this machine and cannot be fetched.
    """
    name = objective.distill
    if name == "auto":
        name = "lpips" if lpips_at_hand() is not None else "encoder"
    if name == "lpips":
        lpips = load_lpips().to(device)
        return name, lambda student, target: lpips(student, target).mean()
    if name == "l1":
        return name, multiscale_l1
    if name == "paper":
        vgg16 = load_features("vgg16").to(device)
        return name, lambda student, target: paper_perceptual(student, target, vgg16)
    if name == "vgg19":
        features = load_features("vgg19").to(device)
    else:
        features = EncoderFeatures(teacher, lambda x: to_contract(x, contract)).to(device)
    return name, lambda student, target: content_and_gram(student, target, features)


class Tracker:
    """Quality on held out pictures: the distance to the teacher's outputs.

    psnr in dB (higher is nearer, 100 at most), l1 in [0, 2], and lpips (SqueezeNet, v0.1; lower is
    nearer) where
    its weights are at hand: means over the held out pictures, each at the size of training.
    """

    def __init__(self, held: PictureSet, teacher: Generate, device: torch.device):
        self.held = held
        self.device = device
        self.teacher = teacher
        self.lpips = lpips_at_hand()
        if self.lpips is not None:
            self.lpips.to(device)
        self._references: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, generate: Generate, most: int | None = None) -> dict[str, float]:
        """Mean distances of a generator to the teacher, on the first `most` pictures or on all."""
        rows = []
        for picture, reference in self.pairs(most):
            made = generate(picture)
            row = {
                "psnr": psnr(made, reference).clamp(max=100),
                "l1": (made - reference).abs().mean(),
            }
            if self.lpips is not None:
                row["lpips"] = self.lpips(made, reference)
            rows.append({name: float(value.mean()) for name, value in row.items()})
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

    @torch.no_grad()
    def pairs(self, most: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """(picture, teacher's picture), (1, 3, size, size) each, of the held out pictures."""
        straight = torch.zeros(1, dtype=torch.bool)
        pictures = [
            self.held.batch(torch.tensor([i]), straight).to(self.device)
            for i in range(len(self.held) if most is None else min(most, len(self.held)))
        ]
        for picture in pictures[len(self._references) :]:
            self._references.append(self.teacher(picture))
        return list(zip(pictures, self._references, strict=False))
