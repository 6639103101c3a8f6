"""Fine-tune a published classifier of CIFAR-10 on the images that a generator learnt from.

    python benchmarks/cifar10_classifier.py --weights resnet20-12fca82f.th \
        --data cifar10_jpg.tar.xz --output classifier.safetensors --record results/classifier.json

JPEG damages images of 32 pixels: classifiers of the originals lose ten points on them. The new
weights are for `gan-slimming evaluate --classifier`. SGD with momentum, the rate on a cosine, crops
after 4 pixels of padding, mirrored half of the time. Images of the test split are only judged.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from gan_slimming.data.cifar10 import LabelledImages, read_cifar10
from gan_slimming.data.sampler import Sampler
from gan_slimming.experiments.teachers.game import Random
from gan_slimming.models import read_state_dict
from gan_slimming.perceptual.cifar_classifier import CifarClassifier, cifar_classifier
from gan_slimming.serialization.provenance import environment

PAD = 4
BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    started = time.process_time()
    train, test = (read_cifar10(given.data, split) for split in ("train", "test"))
    network = cifar_classifier(read_state_dict(given.weights), str(given.weights))
    before = accuracy(network, test)
    print(f"before: {before:.4f}", flush=True)
    fine_tune(network, train, given.epochs, given.lr, given.seed)
    figures = {"accuracy_before": before, "accuracy": accuracy(network, test)}
    save_file(
        {key: value.contiguous() for key, value in network.state_dict().items()}, given.output
    )
    record = {
        "command": "benchmarks/cifar10_classifier.py",
        "weights": given.weights.name,
        "settings": {"epochs": given.epochs, "lr": given.lr, "seed": given.seed, "batch": BATCH},
        "images": {"training": len(train.labels), "test": len(test.labels)},
        **figures,
        "processor_seconds": round(time.process_time() - started),
        "environment": environment(),
    }
    if given.record:
        given.record.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(figures))


def fine_tune(
    network: CifarClassifier, images: LabelledImages, epochs: float, lr: float, seed: int
) -> None:
    """Train a classifier further, in place."""
    network.train().requires_grad_(True)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    sampler, random = Sampler(len(images.labels), BATCH, seed), Random(f"{seed}:classifier")
    steps = round(epochs * len(images.labels) / BATCH)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        indices, _ = sampler.next()
        _, logits = network(augmented(images.pixels[indices], random))
        loss = F.cross_entropy(logits, images.labels[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}: {loss.item():.3f}", flush=True)
    network.eval().requires_grad_(False)


def augmented(pixels: Tensor, random: Random) -> Tensor:
    """Return images in [0, 1], each moved by up to PAD pixels and mirrored half of the time."""
    padded = F.pad(pixels, (PAD, PAD, PAD, PAD))
    side, count = pixels.shape[-1], len(pixels)
    tops, lefts = (random.whole(2 * PAD + 1, count).tolist() for _ in range(2))
    mirrored = (random.whole(2, count) == 1).view(-1, 1, 1, 1)
    places = zip(padded, tops, lefts, strict=True)
    moved = torch.stack([x[:, top : top + side, left : left + side] for x, top, left in places])
    return torch.where(mirrored, moved.flip(-1), moved).float() / 255


@torch.inference_mode()
def accuracy(network: CifarClassifier, images: LabelledImages) -> float:
    """Return the share of images whose class a classifier finds."""
    right = 0
    for pixels, labels in zip(images.pixels.split(500), images.labels.split(500), strict=True):
        right += int((network(pixels.float() / 255)[1].argmax(1) == labels).sum())
    return right / len(images.labels)


if __name__ == "__main__":
    main()
