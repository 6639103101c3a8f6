"""The command sample: images from a generator of noise, in a grid and as single files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract, WeightsFile, check_numbers
from gan_slimming.data.adapter import GeneratorAdapter, output_side
from gan_slimming.data.dataset import Dataset, DatasetItems, check_dataset, length_of
from gan_slimming.data.grid import as_grid
from gan_slimming.data.image_files import SUFFIXES, write_image
from gan_slimming.data.inputs import InputSet
from gan_slimming.data.latents import SAMPLE, latents_for
from gan_slimming.errors import UserError
from gan_slimming.export.placement import model_name, place

BATCH = 16
"""Number of images per run of the generator."""


def sample(
    model: str | Path | nn.Module,
    output: str | Path,
    *,
    count: int = 64,
    seed: int = 0,
    truncation: float = 1.0,
    classes: Sequence[int] = (),
    separate: str | Path | None = None,
    dataset: Dataset | None = None,
    overwrite: bool = False,
    device: str = "auto",
    runtime: str | None = None,
    threads: int | None = None,
    weights: str | Path | WeightsFile | None = None,
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Draw images from a generator that takes noise.

    The noise of image i depends on (seed, i) alone. A larger count begins with the images of a
    smaller one, and generators of one kind get the same noise.

    Args:
        model: as for resolve_model, an exported file, or a generator.
        output: image file of the grid, written atomically.
        count: number of images.
        seed: seed of the noise and of drawn classes.
        truncation: standard deviation of the noise; 1 as in training.
        classes: class numbers to take in turn; empty draws them.
        separate: folder for single images 00000.png and so on; None for the grid alone.
        dataset: a map-style dataset of noise in place of seeded noise; at most `count` items.
        overwrite: whether to replace existing files.
        device: auto, cpu, cuda or mps.
        runtime: torch, onnxruntime or openvino; None is torch, or the runtime of an exported file.
        threads: number of CPU threads of onnxruntime and openvino; None takes all cores.
        weights, factory, arguments: as for resolve_model.

    Returns:
        model, count, seed, truncation, classes, size, output, separate, seconds.
    Raises:
        UserError: the generator takes images, or a count, class, truncation or output is wrong.
    """
    started = time.monotonic()
    check_numbers(count=count, seed=seed, threads=threads)
    if dataset is not None:
        count = min(count, length_of(check_dataset(dataset)))
    grid, folder = Path(output), None if separate is None else Path(separate)
    names = [] if folder is None else [folder / f"{i:05d}.png" for i in range(count)]
    _check_outputs(grid, folder, names, overwrite)
    generator, device_used = place(model, device, runtime, threads, weights, factory, arguments)
    name = model_name(generator.generator)
    latents = _noise(generator.contract, count, seed, truncation, classes, name)
    if dataset is not None:
        latents = DatasetItems(dataset, generator.contract, None, torch.arange(count))
    side = output_side(generator.generator, generator.contract, 0)
    images = draw(generator, latents, device_used)
    write_image(grid, as_grid(images))
    for path, image in zip(names, images, strict=False):
        write_image(path, image)
    return {
        "model": name,
        "count": count,
        "seed": seed,
        "truncation": truncation,
        "classes": list(classes) or None,
        "size": side,
        "output": str(grid),
        "separate": None if folder is None else str(folder),
        "seconds": round(time.monotonic() - started, 3),
    }


@torch.inference_mode()
def draw(generator: GeneratorAdapter, latents: InputSet, device: torch.device) -> Tensor:
    """Return the images of a set of noise: (count, 3, side, side), RGB in [-1, 1], on the CPU."""
    made = []
    for indices in torch.arange(len(latents)).split(BATCH):
        batch = (x.to(device) for x in latents.batch(indices, torch.zeros_like(indices)))
        made.append(generator(*batch).float().cpu())
    return torch.cat(made)


def _noise(
    contract: InputContract,
    count: int,
    seed: int,
    truncation: float,
    classes: Sequence[int],
    model: str,
) -> InputSet:
    if contract.signal:
        raise UserError(f"{model} takes signals, not noise; take gan-slimming translate")
    if not contract.latent_size:
        raise UserError(f"{model} takes images, not noise; take gan-slimming translate")
    if count < 1:
        raise UserError(f"count must be at least 1, got {count}")
    return latents_for(contract, count, seed, SAMPLE, truncation, tuple(classes))


def _check_outputs(grid: Path, folder: Path | None, names: list[Path], overwrite: bool) -> None:
    """Raise UserError for outputs that cannot be written, before any work."""
    if grid.suffix.lower() not in SUFFIXES:
        raise UserError(f"output {grid} is no image file; end it in {', '.join(SUFFIXES)}")
    if grid.is_dir():
        raise UserError(f"output {grid} is a folder; name an image file")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise UserError(f"separate {folder} is a file; name a folder")
    present = [path for path in (grid, *names) if path.exists()]
    if present and not overwrite:
        raise UserError(
            f"{present[0]} exists already; replace with --overwrite or name another --output"
        )
