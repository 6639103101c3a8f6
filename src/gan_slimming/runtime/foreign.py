"""Exported files of other tools: how they take images is read off their shapes, and by trial."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from gan_slimming.config import InputContract
from gan_slimming.data.dummy import dummy_image
from gan_slimming.errors import UserError, one_line

Run = Callable[..., np.ndarray]
_STEPS = (1, 2, 4, 8, 16, 32, 64)
"""Multiples of sides, in pixels, that are tried."""
_LEAST = 64
"""Least side of an image that is tried, in pixels."""
_CHANNELS = (3, 1)
_MOST_CONSTANT = 4096
"""Most numbers of a further input, which a constant stands for."""
_CENTRED, _POSITIVE = -0.05, 1.5
"""Outputs below the first are centred on 0; those above the second are in [0, 255]."""


class ForeignFileWarning(UserWarning):
    """A word on how a file of another tool is taken to work."""


@dataclass(frozen=True)
class Port:
    """An input of a file."""

    name: str
    shape: tuple[int | None, ...]
    """None for an axis of any length."""
    dtype: np.dtype
    """Of its numbers."""


@dataclass(frozen=True)
class _Images:
    """How a file takes images."""

    dtype: np.dtype
    channels: int
    channels_last: bool
    size: tuple[int, int] | None
    """The only height and width that it takes; None for any."""


def adapt_foreign(run: Run, ports: Sequence[Port], file: str) -> tuple[Run, InputContract]:
    """Return a function of images (batch, channels, height, width), and its contract.

    Channels may come last, numbers may be of half precision or bytes. Where a file takes one size
    alone, images are scaled to it and results back. A further input of fixed length, such as the
    weights of styles, gets 1 in its first place and 0 elsewhere: the first style. Which range of
    numbers it means, no file says: it is guessed from what a trial gives, and a ForeignFileWarning
    says so.

    Args:
        run: takes and gives arrays as the file does.
        ports: its inputs.
        file: its name, for texts.
    Raises:
        UserError: it takes something else than one image.
    """
    if len(ports) == 1 and len(ports[0].shape) == 2 and ports[0].shape[1]:
        return run, InputContract(latent_size=ports[0].shape[1])
    place, constants = _constants(ports)
    images = _images([ports[place]] if constants else ports, file)
    wrapped = _as_images(_with_constants(run, place, constants), images)
    contract = _tried(wrapped, images, file)
    said = f"images of {contract.channels} channel(s) in [{contract.low:g}, {contract.high:g}]"
    firsts = [port.name for number, port in enumerate(ports) if number != place]
    said += f", the first place of {' and '.join(firsts)}" if constants else ""
    size = f", all scaled to {images.size[1]}x{images.size[0]} and back" if images.size else ""
    warnings.warn(
        f"{file} is of another tool and does not say what it takes; taken: {said}{size}",
        ForeignFileWarning,
        stacklevel=3,
    )
    return wrapped, contract


def _constants(ports: Sequence[Port]) -> tuple[int, list[np.ndarray]]:
    """Return the place of the image among the inputs, and constants for all others, in order.

    There are none where not exactly one input is an image, or another has no fixed length.
    """
    images = [number for number, port in enumerate(ports) if _is_image(port)]
    others = [port for number, port in enumerate(ports) if number not in images[:1]]
    fixed = [tuple(n or 1 for n in port.shape[:1]) + port.shape[1:] for port in others]
    sizes = [math.prod(n or 0 for n in shape) for shape in fixed]
    if len(images) != 1 or not all(0 < size <= _MOST_CONSTANT for size in sizes):
        return 0, []
    made = []
    for port, size, shape in zip(others, sizes, fixed, strict=True):
        values = np.zeros(size, port.dtype)
        values[0] = 1 if port.dtype.kind == "f" else 0  # whole numbers name a class: the first
        made.append(values.reshape([n or 1 for n in shape]))
    return images[0], made


def _is_image(port: Port) -> bool:
    """Return whether an input can be an image: four axes, one of 1 or 3 channels, two of sides."""
    if len(port.shape) != 4:
        return False
    sides = port.shape[2:] if port.shape[1] in _CHANNELS else port.shape[1:3]
    channels = {port.shape[1], port.shape[3]} & {*_CHANNELS}
    return bool(channels) and all(side is None or side > 3 for side in sides)


def _with_constants(run: Run, place: int, constants: Sequence[np.ndarray]) -> Run:
    """Return a function of the image alone."""
    if not constants:
        return run

    def with_image(image: np.ndarray) -> np.ndarray:
        return run(*constants[:place], image, *constants[place:])

    return with_image


def _images(ports: Sequence[Port], file: str) -> _Images:
    """Return how the only input takes images; raise UserError if it takes none."""
    said = ", ".join(f"{p.name} ({'x'.join(str(n or '?') for n in p.shape)})" for p in ports)
    if len(ports) != 1 or len(ports[0].shape) != 4:
        raise UserError(
            f"{file} takes {said}, not one image (batch, channels, height, width); export the "
            "generator with a module round it that takes the image alone"
        )
    shape, dtype = ports[0].shape, ports[0].dtype
    last = shape[1] not in _CHANNELS and shape[3] in _CHANNELS
    channels = shape[3] if last else shape[1]
    if channels not in (*_CHANNELS, None) or dtype.kind not in "fu":
        raise UserError(f"{file} takes {said} of {dtype}, not an image of 1 or 3 channels")
    height, width = (shape[1], shape[2]) if last else (shape[2], shape[3])
    size = (height, width) if height and width else None
    return _Images(dtype, channels or 3, last, size)


def _as_images(run: Run, images: _Images) -> Run:
    """Return a function of float32 (batch, channels, height, width) of any size."""

    def wrapped(given: np.ndarray) -> np.ndarray:
        height, width = given.shape[-2:]
        fitted = _scaled(given, images.size)
        if images.dtype.kind == "u":
            fitted = fitted.round().clip(0, 255)
        if images.channels_last:
            fitted = fitted.transpose(0, 2, 3, 1)
        made = run(np.ascontiguousarray(fitted, dtype=images.dtype)).astype(np.float32)
        if images.channels_last and made.ndim == 4:
            made = np.ascontiguousarray(made.transpose(0, 3, 1, 2))
        if images.size is None or made.ndim != 4 or (height, width) == images.size:
            return made
        times = max(1, made.shape[2] // images.size[0])
        return _scaled(made, (times * height, times * width))

    return wrapped


def _scaled(values: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Return images scaled to a size, bilinearly, with antialiasing."""
    if size is None or values.shape[-2:] == size:
        return values
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return F.interpolate(tensor, size, mode="bilinear", antialias=True).numpy()


def _tried(run: Run, images: _Images, file: str) -> InputContract:
    """Return the contract that trials show: multiples of sides, scale, and range."""
    reason = ""
    contract = InputContract(channels=images.channels)
    if images.dtype.kind == "u":
        contract = replace(contract, low=0.0, high=255.0)
    for step in _STEPS:
        height, width = images.size or (_odd(step) * step, (_odd(step) + 2) * step)
        given = dummy_image((1, images.channels, height, width), contract.low, contract.high)
        try:
            made = run(given)
        except Exception as error:  # a runtime's own types
            reason = one_line(error)[:200]
            continue
        times = made.shape[2] // height if made.ndim == 4 else 0
        if times and made.shape[2:] == (times * height, times * width):
            step = 1 if images.size else step
            found = replace(contract, multiple_of=step, min_size=step, scale=times)
            return found if images.dtype.kind == "u" else _with_range(found, made)
        reason = f"it makes {'x'.join(map(str, made.shape))} of {height}x{width} pixels"
    raise UserError(f"{file} does not make an image of an image: {reason}; export the generator")


def _odd(step: int) -> int:
    """Return an odd number of steps that make about the least side."""
    return max(1, _LEAST // step) | 1


def _with_range(contract: InputContract, made: np.ndarray) -> InputContract:
    """Return the contract with the range in which the outputs of a trial lie."""
    if made.min() < _CENTRED and made.max() < 2 * _POSITIVE:
        return contract
    return replace(contract, low=0.0, high=1.0 if made.max() < _POSITIVE else 255.0)
