"""Measure the response of every metric to damaged photos: the table of docs/evaluate.md.

    GAN_SLIMMING_DATA=data python benchmarks/damages.py --photos 24 --set-photos 600

Each photo is damaged at three strengths and compared with the original. For metrics between sets,
half of the photos serve as the model's images and half as real ones.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gan_slimming.evaluation.images import as_image, read_image
from gan_slimming.metrics.catalogue import METRICS, missing_for, pairwise
from gan_slimming.metrics.colour import gaussian_blur
from gan_slimming.metrics.embedded_set import EmbeddedSet, compare_sets
from gan_slimming.perceptual.embeddings import load_embedding

Damage = Callable[[Tensor, float], Tensor]
"""Maps images (batch, 3, height, width) in [-1, 1] and a strength to damaged images."""
PAIRED = ("lpips", "psnr", "ssim", "ms_ssim", "l1", "flip", "colour", "dots")
SETS = ("frechet", "kid", "precision", "recall")
BATCH = 16


def noise(images: Tensor, levels: float) -> Tensor:
    """Add Gaussian noise with a standard deviation in 8-bit levels, equal in every call."""
    generator = torch.Generator().manual_seed(0)
    return images + torch.randn(images.shape, generator=generator) * levels / 127.5


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian of `sigma` pixels."""
    return gaussian_blur(images, sigma)


def hue(images: Tensor, degrees: float) -> Tensor:
    """Rotate colours about the grey axis of RGB (Rodrigues' formula)."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle) / math.sqrt(3)
    grey = (1 - cosine) / 3
    matrix = grey + torch.tensor([
        [cosine, -sine, sine], [sine, cosine, -sine], [-sine, sine, cosine],
    ])  # fmt: skip
    return torch.einsum("dc,bchw->bdhw", matrix, images)


def brightness(images: Tensor, levels: float) -> Tensor:
    """Add 8-bit levels to all values."""
    return images + levels / 127.5


def lattice(images: Tensor, levels: float) -> Tensor:
    """Add one dot every 4 pixels, with a root mean square in 8-bit levels."""
    dot = torch.zeros(images.shape[-2:])
    dot[::4, ::4] = 1
    dot = dot - dot.mean()
    return images + dot * (levels / 127.5 / dot.square().mean().sqrt())


DAMAGES: dict[str, tuple[Damage, tuple[float, float, float]]] = {
    "noise (8-bit levels)": (noise, (4, 10, 25)),
    "blur (sigma in pixels)": (blur, (0.7, 1.5, 3)),
    "hue (degrees)": (hue, (10, 25, 60)),
    "brightness (8-bit levels)": (brightness, (5, 15, 40)),
    "dots (8-bit levels)": (lattice, (1, 3, 8)),
}
MODES = (1, 1 / 2, 1 / 8, 1 / 32)
"""Shares of distinct photos in a set that repeats them to its full size."""


def rounded(images: Tensor) -> Tensor:
    """Return images clipped and rounded to 8 bits."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def load(paths: list[Path]) -> Tensor:
    """Return photos (count, 3, 256, 256) uint8."""
    return torch.stack([read_image(path, 256) for path in paths])


@torch.inference_mode()
def paired(name: str, photos: Tensor) -> dict[str, list[float]]:
    """Return a metric's mean for every damage, mildest first."""
    measure = pairwise(name, torch.device("cpu"), download=False)
    found: dict[str, list[float]] = {}
    for damage, (apply, strengths) in DAMAGES.items():
        found[damage] = []
        for strength in strengths:
            values = [
                measure(rounded(apply(as_image(part), strength)), as_image(part))
                for part in photos.split(4)
            ]
            found[damage].append(float(torch.cat(values).mean()))
    return found


@torch.inference_mode()
def embedded(photos: Tensor, apply: Callable[[Tensor], Tensor]) -> EmbeddedSet:
    """Return the SqueezeNet features of damaged photos."""
    network = load_embedding("squeezenet", torch.device("cpu"), download=False)
    found = EmbeddedSet(network.dimensions, network.classes)
    for part in photos.split(BATCH):
        found.update(*network.run(rounded(apply(as_image(part)))))
    return found


def between_sets(photos: Tensor) -> dict[str, dict[str, list[float]]]:
    """Return metric -> damage -> values, undamaged first, then by strength."""
    made, real = photos[::2], photos[1::2]
    of_real = embedded(real, lambda images: images)
    plain = embedded(made, lambda images: images)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in SETS}

    def add(damage: str, sets: list[EmbeddedSet]) -> None:
        for name in SETS:
            found[name][damage] = [compare_sets(name, each, of_real).value for each in sets]

    for damage, (apply, strengths) in DAMAGES.items():
        add(damage, [plain, *(embedded(made, lambda x, s=s: apply(x, s)) for s in strengths)])  # noqa: B023
    features = plain.sample.features
    repeated = []
    for share in MODES:
        kept = features[: max(4, round(len(features) * share))]
        repeated.append(EmbeddedSet(features.shape[1], 0))
        repeated[-1].update(kept[torch.arange(len(features)) % len(kept)], torch.empty(0, 0))
    add("fewer modes (share of photos)", repeated)
    return found


def photo_paths(count: int) -> list[Path]:
    """Return `count` photos, evenly from the folder that GAN_SLIMMING_DATA names."""
    paths = sorted((Path(os.environ["GAN_SLIMMING_DATA"]) / "photos256").rglob("*.jpg"))
    paths += sorted((Path(os.environ["GAN_SLIMMING_DATA"]) / "photos256").rglob("*.JPEG"))
    step = max(1, len(paths) // count)
    return paths[::step][:count]


def main() -> None:
    """Print a Markdown table, then the same as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--set-photos", type=int, default=600)
    arguments = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {}
    photos = load(photo_paths(arguments.photos))
    for name in PAIRED:
        if missing_for(METRICS[name]) is None:
            results[name] = paired(name, photos)
    of_sets = between_sets(load(photo_paths(arguments.set_photos)))
    results |= {f"{name}_squeezenet": values for name, values in of_sets.items()}
    damages = [*DAMAGES, "fewer modes (share of photos)"]
    print("| |", " | ".join(damages), "|")
    print("|---|", "---|" * len(damages), sep="")
    for name, row in results.items():
        cells = [" · ".join(f"{v:.3g}" for v in row[d]) if d in row else "–" for d in damages]
        print(f"| {name} |", " | ".join(cells), "|")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
