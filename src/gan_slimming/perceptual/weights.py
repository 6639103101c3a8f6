"""The weights of the perceptual networks: search, download and loading.

Search order: the caller's file; the folders in the environment variables GAN_SLIMMING_WEIGHTS and
GAN_SLIMMING_DATA; the cache folder; for LPIPS, the copy inside torchmetrics. Only `fetch_weights`
uses the network.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gan_slimming.data.download import Progress, download, file_sha256
from gan_slimming.data.files import cache_folder
from gan_slimming.data.torch_files import load_tensors
from gan_slimming.errors import UserError


@dataclass(frozen=True)
class Source:
    """A published weight file."""

    url: str
    """Its address."""
    sha256: str
    """At least the first eight hexadecimal digits of its SHA-256."""
    paths: tuple[str, ...]
    """Its possible paths in a weights folder; the first is its name in the cache."""
    copies: tuple[str, ...] = ()
    """SHA-256 of files that hold the same tensors in another form."""

    def has(self, digest: str) -> bool:
        """Return whether a file of this SHA-256 is the published one, or a copy of it."""
        return digest.startswith(self.sha256) or digest in self.copies


SOURCES = {
    "vgg16": Source(
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af",
        ("vgg16-397923af.pth",),
    ),
    "vgg19": Source(
        "https://github.com/pietrocarbo/deep-transfer/raw/master/models/autoencoder_vgg19/vgg19_3/"
        "vgg_normalised_conv3_1.pth",
        "ff8506173d3a17e7b0fbfbff242c00b6827cfbcd7c21852b46806ae6a3fd7b09",
        ("vgg_normalised_conv3_1.pth", "vgg19_normalised/vgg_normalised_conv3_1.pth"),
    ),
    "squeezenet": Source(
        "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
        "b8a52dc0",
        ("squeezenet1_1-b8a52dc0.pth", "squeezenet1_1/squeezenet1_1_imagenet.pth"),
        ("83402e8ab16f2b2f467e1c28fe3f581db997c04858038777ba39c013d3298929",),
    ),
    "lpips": Source(
        "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/squeeze.pth",
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        ("lpips_v0.1_squeeze.pth", "lpips_weights/v0.1/squeeze.pth"),
    ),
    "alexnet": Source(
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be79",
        ("alexnet-owt-7be5be79.pth",),
    ),
    "lpips_alex": Source(
        "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/alex.pth",
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        ("lpips_v0.1_alex.pth", "lpips_weights/v0.1/alex.pth"),
    ),
    "lpips_vgg": Source(
        "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        ("lpips_v0.1_vgg.pth", "lpips_weights/v0.1/vgg.pth"),
    ),
    "dists": Source(
        "https://github.com/Lightning-AI/torchmetrics/raw/v1.9.0/src/torchmetrics/functional/image/"
        "dists_models/weights.pt",
        "f5e65c96230b7f6ca995691647d482237e4cab8a50c5c4a5784f219ef0748218",
        ("dists_weights.pt",),
    ),
    "inception": Source(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        "6726825d",
        (
            "pt_inception-2015-12-05-6726825d.pth",
            "weights-inception-2015-12-05-6726825d.pth",
        ),
    ),
}
"""Name -> source: feature networks, and the linear layers of LPIPS (v0.1) and of DISTS."""
VARIABLES = ("GAN_SLIMMING_WEIGHTS", "GAN_SLIMMING_DATA")
"""Variables of the environment that name folders of weights."""
INSIDE_TORCHMETRICS = {
    "lpips": "lpips_models/squeeze.pth",
    "lpips_alex": "lpips_models/alex.pth",
    "lpips_vgg": "lpips_models/vgg.pth",
    "dists": "dists_models/weights.pt",
}
"""Files that torchmetrics carries, the same as published."""


def weight_folders() -> list[Path]:
    """Return the folders where weights may lie: those of the environment, then the cache.

    Raises:
        UserError: the environment names one that is not there.
    """
    given = {name: Path(os.environ[name]) for name in VARIABLES if os.environ.get(name)}
    for variable, folder in given.items():
        if not folder.is_dir():
            raise UserError(
                f"{variable} names {folder}, which is no folder; correct it, or unset it"
            )
    named = list(given.values())
    return [*named, cache_folder()]


def named_weights_folder() -> str | None:
    """Return the variable of the environment that names a folder of weights, if one does."""
    return next((name for name in VARIABLES if os.environ.get(name)), None)


def find_weights(name: str) -> Path | None:
    """Return the file of a name of SOURCES on this machine, or None, without a download."""
    source = _source(name)
    candidates = [folder / path for folder in weight_folders() for path in source.paths]
    if name in INSIDE_TORCHMETRICS and (inside := _inside_torchmetrics(name)):
        candidates.append(inside)
    return next((path for path in candidates if path.is_file()), None)


def fetch_weights(name: str, timeout: float = 30.0, progress: Progress | None = None) -> Path:
    """Return the file of a name of SOURCES; download it to the cache if it is not found."""
    found = find_weights(name)
    if found:
        return found
    source = _source(name)
    destination = cache_folder() / source.paths[0]
    download(source.url, destination, source.sha256, timeout=timeout, progress=progress)
    return destination


def load_weights(name: str, path: Path | None = None, download: bool = True) -> dict[str, Tensor]:
    """Load the tensors of `path`, or else of a name of SOURCES.

    Args:
        download: whether to download a file that is not found.

    Raises:
        UserError: there is no file, it is not the published one, or not a dict of tensors.
    """
    if path is None:
        path = fetch_weights(name) if download else find_weights(name)
        if path is not None:
            check_weights(name, path)
    if path is None:
        raise UserError(
            f"no weights for {name} on this machine; allow the download of {_source(name).url}, "
            f"or put it into the folder that GAN_SLIMMING_WEIGHTS names"
        )
    if not path.is_file():
        raise UserError(f"weights for {name}: no file {path}")
    try:
        state = load_tensors(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(
            f"weights for {name}: {path} is not a file of tensors ({type(error).__name__}); "
            f"delete it and fetch it again from {_source(name).url}"
        ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise UserError(f"weights for {name}: {path} must hold a dict of tensors (a state dict)")
    return dict(state)


def check_weights(name: str, path: Path) -> str:
    """Return the SHA-256 of a file, once it is seen to be the one that is published under a name.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    source = _source(name)
    if not path.is_file():
        raise UserError(f"weights for {name}: no file {path}; get it from {source.url}")
    digest = file_sha256(path)
    if not source.has(digest):
        raise UserError(
            f"weights for {name}: {path} has SHA-256 {digest[: len(source.sha256)]}, the published "
            f"file has {source.sha256}; get that from {source.url}"
        )
    return digest


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise UserError(f"weights must be one of {', '.join(SOURCES)}, got {name!r}")
    return SOURCES[name]


def _inside_torchmetrics(name: str) -> Path | None:
    """Return torchmetrics' copy of a small published file, or None without torchmetrics."""
    package = importlib.util.find_spec("torchmetrics")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "functional/image" / INSIDE_TORCHMETRICS[name]
