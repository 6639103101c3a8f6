"""What training minimises and what it is judged by: distances between student and teacher."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.config import InputContract, Objective, UserError
from gan_slimming.data.image_files import from_contract, to_contract, write_picture
from gan_slimming.data.inputs import Border, Fed, Feed, Generate, enlarged, to_inputs
from gan_slimming.losses.encoder import EncoderFeatures
from gan_slimming.losses.objective import Distance
from gan_slimming.losses.perceptual import content_and_gram, multiscale_l1, paper_perceptual
from gan_slimming.metrics.distances import psnr
from gan_slimming.perceptual.features import load_features
from gan_slimming.perceptual.lpips import Lpips, load_lpips
from gan_slimming.perceptual.weights import find_weights

LPIPS_SIDE = 64
"""Pixels a side to which smaller pictures are enlarged before LPIPS measures them."""


def border(contract: InputContract) -> Border:
    """Wraps generators so that they take what data.feeds gives, and give RGB in [-1, 1]."""

    def wrap(module: nn.Module) -> Generate:
        return lambda *fed: from_contract(module(*to_inputs(fed, contract)), contract)

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
        UserError: its weights are not on this machine and cannot be fetched; it is the encoder of a
            generator that has none.
    """
    name = objective.distill
    noise = contract.latent_size > 0
    if name == "auto":
        name = "lpips" if lpips_at_hand() is not None else "l1" if noise else "encoder"
    if name == "encoder" and noise:
        raise UserError(
            "a generator that takes noise has no encoder; take --distill lpips, vgg19, paper or l1"
        )
    if name == "l1":
        return name, multiscale_l1
    if name == "encoder":
        features = EncoderFeatures(teacher, lambda x: to_contract(x, contract)).to(device)
        return name, lambda student, target: content_and_gram(student, target, features)
    distance = _of_feature_network(name, device)
    least = objective.upsample_to
    return name, lambda s, t: distance(enlarged(s, least), enlarged(t, least))


def _of_feature_network(name: str, device: torch.device) -> Distance:
    """A distance by a network that was trained to classify photos."""
    if name == "lpips":
        lpips = load_lpips().to(device)
        return lambda student, target: lpips(student, target).mean()
    features = load_features("vgg16" if name == "paper" else "vgg19").to(device)
    if name == "paper":
        return lambda student, target: paper_perceptual(student, target, features)
    return lambda student, target: content_and_gram(student, target, features)


class Tracker:
    """Quality on what is held out from training: the distance to the teacher's outputs.

    Pictures are clipped to [-1, 1] first, as they are when they are written. psnr in dB (higher is
    nearer, 100 at most), l1 in [0, 2], and lpips (SqueezeNet, v0.1; lower is nearer; pictures below
    LPIPS_SIDE are enlarged to it) where its weights are at hand: means over the held out pictures
    or noise vectors, each at the size of training.
    """

    def __init__(self, held: Feed, teacher: Generate, device: torch.device):
        self.held = held
        self.device = device
        self.teacher = teacher
        self.lpips = lpips_at_hand()
        if self.lpips is not None:
            self.lpips.to(device)
        self._references: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, generate: Generate, most: int | None = None) -> dict[str, float]:
        """Mean distances of a generator to the teacher, on the first `most` held out or on all."""
        rows = []
        for fed, reference in self.answers(most):
            made = generate(*fed).clamp(-1, 1)
            row = {
                "psnr": psnr(made, reference).clamp(max=100),
                "l1": (made - reference).abs().mean(),
            }
            if self.lpips is not None:
                pair = (enlarged(picture, LPIPS_SIDE) for picture in (made, reference))
                row["lpips"] = self.lpips(*pair)
            rows.append({name: float(value.mean()) for name, value in row.items()})
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

    @torch.no_grad()
    def answers(self, most: int | None = None) -> list[tuple[Fed, Tensor]]:
        """(what is fed, the teacher's picture (1, 3, side, side)) of what is held out."""
        straight = torch.zeros(1, dtype=torch.int64)
        held = [
            tuple(x.to(self.device) for x in self.held.fed(torch.tensor([i]), straight))
            for i in range(len(self.held) if most is None else min(most, len(self.held)))
        ]
        for fed in held[len(self._references) :]:
            self._references.append(self.teacher(*fed).clamp(-1, 1))
        return list(zip(held, self._references, strict=False))

    def pairs(self, most: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """(picture, the teacher's picture) of what is held out, where it is pictures."""
        return [(fed[0], reference) for fed, reference in self.answers(most)]

    @torch.no_grad()
    def write_samples(self, generate: Generate, folder: Path, most: int) -> None:
        """Rows of pictures as PNG: the input, where it is one, the teacher's and the student's.

        A smaller input is shown as large as what is made of it, its pixels as squares.
        """
        folder.mkdir(exist_ok=True)
        for i, (fed, reference) in enumerate(self.answers(most)):
            shown = [F.interpolate(x, reference.shape[-2:]) for x in fed if x.ndim == 4]
            row = torch.cat([*shown, reference, generate(*fed)], dim=3)[0]
            name = f"{i:02d}_{'input_' if shown else ''}teacher_student.png"
            write_picture(folder / name, row.float().cpu())
