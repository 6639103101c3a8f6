"""Dummy inputs, for uses that need only shapes and plausible values. Imports no torch."""

from __future__ import annotations

import numpy as np

from gan_slimming.config import ExtraInput, InputContract

PATCHES = 4
"""Number of patches of one colour along each side of a dummy image."""
NOISE = 0.1
"""Share of noise in a dummy image, 0 to 1."""


def input_shapes(
    contract: InputContract, size: int | tuple[int, int], batch: int = 1
) -> dict[str, tuple[int, ...]]:
    """Return input name -> shape, in the order of the generator's forward.

    Args:
        size: side, or height and width, in pixels; of a signal, the last one is its length. Unused
            for noise.
    """
    if contract.latent_size:
        classes: dict[str, tuple[int, ...]] = {"y": (batch,)} if contract.classes else {}
        noise = (batch, contract.latent_size, 1, 1)[: contract.latent_dims]
        return {"z": noise, **classes, **_extra_shapes(contract, batch, 1, 1)}
    height, width = (size, size) if isinstance(size, int) else size
    first = (batch, contract.channels, height, width)
    if contract.signal:
        first = (batch, contract.channels, width)
    return {"input": first, **_extra_shapes(contract, batch, height, width)}


def _extra_shapes(
    contract: InputContract, batch: int, height: int, width: int
) -> dict[str, tuple[int, ...]]:
    extras = enumerate(contract.extras, 1)
    return {f"{e.kind}_{n}": e.shape(batch, height, width) for n, e in extras}


def dummy_arrays(
    contract: InputContract, size: int | tuple[int, int], batch: int = 1
) -> tuple[np.ndarray, ...]:
    """Return constant inputs: images in the contract's range, or noise and class 0.

    Args:
        size: as for `input_shapes`.
    """
    shapes = input_shapes(contract, size, batch)
    classes = shapes.pop("y", None)
    first, *others = shapes.values()
    extras = (_dummy_extra(*pair) for pair in zip(contract.extras, others, strict=True))
    if not contract.latent_size:
        return (dummy_image(first, contract.low, contract.high), *extras)
    noise = np.random.default_rng(0).standard_normal(first, np.float32)
    return (noise, *([] if classes is None else [np.zeros(classes, np.int64)]), *extras)


def _dummy_extra(extra: ExtraInput, shape: tuple[int, ...]) -> np.ndarray:
    """Return class 0, or numbers in [0, 1]."""
    if extra.kind == "class":
        return np.zeros(shape, np.int64)
    if extra.kind == "noise":
        return np.random.default_rng(1).standard_normal(shape, np.float32)
    values = np.random.default_rng(1).random(shape, np.float32)
    return values.round() if extra.kind in ("label", "mask") else values


def dummy_image(shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Return an image of flat patches with some noise, float32 in [low, high]."""
    random = np.random.default_rng(0)
    values = random.random(shape, np.float32)
    if len(shape) == 4:
        height, width = shape[2:]
        patches = random.random((*shape[:2], PATCHES, PATCHES), np.float32)
        patches = patches.repeat(-(-height // PATCHES), 2).repeat(-(-width // PATCHES), 3)
        values = (1 - NOISE) * patches[..., :height, :width] + NOISE * values
    return low + (high - low) * values
