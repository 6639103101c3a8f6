"""A cache of image features on disk, keyed by the content of the files.

An entry holds the features of a few consecutive images. Its name is a hash of the network's
weights, the resize rule and the images' bytes. So a changed image is computed anew, and a renamed
one is not. An entry also stores its name and hash: damaged or misplaced ones are ignored and
written again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from gan_slimming.data.files import cache_folder, write_atomically

VERSION = 1
"""Version of the entries' layout; entries of others are not found."""


@dataclass(frozen=True)
class FeatureKey:
    """The network and resize rule of cached features."""

    network: str
    """The network's name."""
    weights_sha256: str
    """SHA-256 of its weight file."""
    resize: str
    """The rule that resizes images."""


class FeatureCache:
    """A folder of entries for one network.

    Args:
        key: the network and resize rule.
        folder: folder of the entries; None for the package's cache.
    """

    def __init__(self, key: FeatureKey, folder: Path | None = None) -> None:
        self.key = key
        self.folder = folder or cache_folder() / "features"

    def name(self, digests: Sequence[str]) -> str:
        """Return the name of the entry for images with these SHA-256 digests, in this order."""
        parts = (str(VERSION), self.key.network, self.key.weights_sha256, self.key.resize)
        return hashlib.sha256("\n".join([*parts, *digests]).encode()).hexdigest()

    def read(self, digests: Sequence[str]) -> dict[str, Tensor] | None:
        """Return the tensors of these images, or None without an intact entry."""
        name = self.name(digests)
        try:
            content = (self.folder / f"{name}.safetensors").read_bytes()
            tensors = load(content)
            length = int.from_bytes(content[:8], "little")
            told = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        except (OSError, ValueError, safetensors.SafetensorError):
            return None
        rows = all(tensor.shape[:1] == (len(digests),) for tensor in tensors.values())
        sound = rows and told.get("name") == name and told.get("sha256") == _digest(tensors)
        return tensors if sound else None

    def write(self, digests: Sequence[str], tensors: dict[str, Tensor]) -> None:
        """Write tensors with one row for each image; a read-only folder is no error."""
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        name = self.name(digests)
        told = {"name": name, "sha256": _digest(whole), "network": self.key.network}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / f"{name}.safetensors", save(whole, told))
        except OSError:
            return  # without the cache, features are only slower


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
