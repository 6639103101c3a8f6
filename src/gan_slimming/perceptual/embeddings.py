"""Networks from an image to one feature vector, for comparing sets of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.data.download import file_sha256
from gan_slimming.errors import UserError
from gan_slimming.models.checkpoints import read_state_dict
from gan_slimming.perceptual import cifar_classifier as cifar
from gan_slimming.perceptual.features import SqueezeNetFeatures, load_features
from gan_slimming.perceptual.inception import CLASSES, FEATURES, RESIZE, InceptionFeatures
from gan_slimming.perceptual.weights import (
    check_weights,
    fetch_weights,
    find_weights,
    load_weights,
)

EMBEDDINGS = ("inception", "squeezenet", "classifier")
"""Names of the networks; a Fréchet distance is an FID only on the first. The last is a classifier
of CIFAR-10 that the user names."""
SQUEEZENET_SIDE = 224
"""Side in pixels of SqueezeNet's training images."""


@dataclass(frozen=True)
class Embedding:
    """A feature network with its weights and resize rule."""

    network: str
    """One of EMBEDDINGS."""
    dimensions: int
    """Length of a feature vector."""
    classes: int
    """Number of class scores; 0 without a classifier."""
    weights_sha256: str
    """SHA-256 of its weight file."""
    resize: str
    """The rule that resizes images to the network's size."""
    run: Callable[[Tensor], tuple[Tensor, Tensor]]
    """Maps images (batch, 3, height, width) in [-1, 1], on any device, to features and scores."""


def embedding_at_hand(network: str, path: Path | None = None) -> bool:
    """Return whether the weights of a network are on this machine."""
    if path is not None and path.is_file():
        return True
    return network != "classifier" and find_weights(network) is not None


def load_embedding(
    network: str, device: torch.device, path: Path | None = None, download: bool = True
) -> Embedding:
    """Return a network of EMBEDDINGS, ready to run.

    Args:
        network: its name.
        device: the device to run on.
        path: its weight file; None searches for it and, if `download`, downloads it.
        download: whether missing weights may be downloaded.
    Raises:
        UserError: an unknown name, missing weights, or an Inception file other than the published
            one, on which a distance would not be an FID.
    """
    if network not in EMBEDDINGS:
        raise UserError(f"feature network must be of {', '.join(EMBEDDINGS)}, got {network!r}")
    if network == "classifier":
        return _classifier(path, device)
    if path is None:
        path = fetch_weights(network) if download else find_weights(network)
    if network == "inception":
        return _inception(path, device)
    module = load_features("squeezenet", path, download=download)
    assert isinstance(module, SqueezeNetFeatures)
    module.to(device)

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        maps = module(squeezenet_size((images.to(device) + 1) / 2))["slice7"]
        scores = module.class_scores(maps) if classes else maps.new_zeros(len(maps), 0)
        return maps.mean(dim=(2, 3)), scores

    classes = 0 if module.classifier is None else 1000
    digest = file_sha256(path) if path else ""
    rule = f"{SQUEEZENET_SIDE}x{SQUEEZENET_SIDE}, bilinear with antialias"
    return Embedding("squeezenet", module.channels[-1], classes, digest, rule, run)


def _inception(path: Path | None, device: torch.device) -> Embedding:
    state = load_weights("inception", path, download=False)
    assert path is not None
    module = InceptionFeatures(state).to(device)  # reports another version before a wrong hash
    digest = check_weights("inception", path)

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        return module(images.to(device))

    return Embedding("inception", FEATURES, CLASSES, digest, RESIZE, run)


def _classifier(path: Path | None, device: torch.device) -> Embedding:
    """Return a user's own classifier of CIFAR-10."""
    if path is None:
        raise UserError("name the weights of the classifier of CIFAR-10: --classifier FILE")
    module = cifar.cifar_classifier(read_state_dict(path), str(path)).to(device)

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        images = (images.to(device) + 1) / 2
        if tuple(images.shape[-2:]) != (cifar.SIDE, cifar.SIDE):
            side = (cifar.SIDE, cifar.SIDE)
            images = F.interpolate(images, side, mode="bilinear", antialias=True)
        return module(images)

    rule = f"{cifar.SIDE}x{cifar.SIDE}, bilinear with antialias"
    digest = file_sha256(path)
    return Embedding("classifier", cifar.FEATURES, cifar.CLASSES, digest, rule, run)


def squeezenet_size(images: Tensor) -> Tensor:
    """Return images (batch, 3, height, width) resized whole to 224 x 224."""
    side = (SQUEEZENET_SIDE, SQUEEZENET_SIDE)
    if tuple(images.shape[-2:]) == side:
        return images
    return F.interpolate(images, side, mode="bilinear", antialias=True)
