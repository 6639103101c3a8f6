"""Folders of small images, and the device of a game."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lightning_fabric import Fabric
from PIL import Image

from gan_slimming.data.cifar10 import CLASSES


def write_images(folder: Path, count: int, width: int, height: int, seed: int) -> Path:
    """Random images in a folder, which is made."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for place in range(count):
        pixels = draw.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{place:04d}.png")
    return folder


@pytest.fixture
def fabric() -> Fabric:
    """The CPU in float32."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.launch()
    return fabric


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """Two training images and a test image of each class of CIFAR-10."""
    for place, name in enumerate(CLASSES):
        write_images(tmp_path / "cifar" / "train" / name, 2, 32, 32, place)
        write_images(tmp_path / "cifar" / "test" / name, 1, 32, 32, 100 + place)
    return tmp_path / "cifar"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of five images."""
    return tuple(write_images(tmp_path / name, 5, 48, 40, k) for k, name in enumerate("ab"))  # pyright: ignore[reportReturnType]
