"""The distance d of the objective, chosen by name."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from gan_slimming.config import InputContract, Objective
from gan_slimming.data.adapter import to_inputs
from gan_slimming.data.inputs import enlarged
from gan_slimming.errors import UserError
from gan_slimming.losses.encoder import EncoderFeatures
from gan_slimming.losses.objective import Distance
from gan_slimming.losses.perceptual import content_and_gram, multiscale_l1, paper_perceptual
from gan_slimming.perceptual.features import load_features
from gan_slimming.perceptual.lpips import load_lpips, lpips_at_hand
from gan_slimming.perceptual.spectral import spectral_distance
from gan_slimming.perceptual.weights import named_weights_folder


class WeightsWarning(UserWarning):
    """A warning that a named folder holds no weights of the preferred distance."""


def distance_of(
    objective: Objective, teacher: nn.Module, contract: InputContract, device: torch.device
) -> tuple[str, Distance]:
    """Return the name and the distance of the objective; 'auto' takes the best one available.

    Raises:
        UserError: its weights are neither on this machine nor downloadable, or the teacher has no
            encoder of its own images.
    """
    name = objective.distill
    if contract.signal or name == "spectral":
        return _of_signals(name, contract)
    images = not contract.latent_size and contract.channels in (1, 3)
    if name == "auto":
        name = "lpips" if lpips_at_hand() is not None else "encoder" if images else "l1"
        if name != "lpips" and (variable := named_weights_folder()):
            warnings.warn(
                f"{variable} names a folder without the weights of lpips (squeezenet); the "
                f"distance is {name}",
                WeightsWarning,
                stacklevel=3,
            )
    if name == "encoder" and not images:
        raise UserError(
            "a generator that takes noise, or images unlike its own, has no encoder "
            "of these; take --distill lpips, vgg19, paper or l1"
        )
    if name == "l1":
        return name, multiscale_l1
    if name == "encoder":
        features = EncoderFeatures(teacher, lambda x: to_inputs((x,), contract)).to(device)
        return name, lambda student, target: content_and_gram(student, target, features)
    distance = _of_feature_network(name, device)
    least = objective.upsample_to
    return name, lambda s, t: distance(enlarged(s, least), enlarged(t, least))


def _of_signals(name: str, contract: InputContract) -> tuple[str, Distance]:
    """Return the spectral distance; raise UserError for another one, or for images."""
    if not contract.signal:
        raise UserError("--distill spectral is for waveforms; take lpips, encoder or l1 for images")
    if name not in ("auto", "spectral"):
        raise UserError(f"--distill {name} is for images; take spectral for waveforms")
    return "spectral", lambda student, target: spectral_distance(student, target).mean()


def _of_feature_network(name: str, device: torch.device) -> Distance:
    """Return a distance in the features of a network trained to classify photos."""
    if name == "lpips":
        lpips = load_lpips().to(device)
        return lambda student, target: lpips(student, target).mean()
    features = load_features("vgg16" if name == "paper" else "vgg19").to(device)
    if name == "paper":
        return lambda student, target: paper_perceptual(student, target, features)
    return lambda student, target: content_and_gram(student, target, features)
