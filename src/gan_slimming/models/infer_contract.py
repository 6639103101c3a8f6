"""The input contract of a generator, inferred from trials on shapes without values."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import ExtraInput, InputContract
from gan_slimming.data.whole_copy import whole_copy

STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Multiples, in pixels, to which sides of images are tried."""
SIZES = (256, 128, 512, 64, 224, 1024, 96, 112, 32, 16, 8)
"""Sides tried of a generator that takes a single size, most usual first."""
MIN_SIDE = 64
"""Shortest side tried, in pixels, because reflection padding needs a minimum."""
LABELS = 40
"""Longest vector that counts as a label of zeros and ones; longer ones are noise or identities."""
MOST_CLASSES = 256
"""Most channels tried of a map with one channel for each class."""
MOST_CHANNELS = 16
"""Most channels tried of an image without a second input."""
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NOISE = (100, 128, 512, 64, 256)
"""Lengths of noise tried beside labels, where no layer takes the noise alone."""
LENGTHS = (*range(1, LABELS + 1), 64, 100, 128, 256, 512)
"""Lengths tried of a second input that is a vector."""


def infer_contract(module: nn.Module) -> InputContract:
    """Infer inputs, sizes, scale and output of a generator without a declared contract.

    A side is accepted if the output's is a whole multiple of it. Two convolutions of stride 2 and
    two transposed ones, for instance, run on 65 pixels but return 68. Nothing is computed, and the
    module is unchanged.

    Returns:
        The defaults where no trial is accepted.
    """
    try:
        shell = whole_copy(module).to("meta")
        shell.eval()
        for layer in shell.modules():
            if isinstance(layer, TRANSPOSED):
                layer.register_forward_pre_hook(_check_channels)
    except Exception:  # the user's module may refuse for any reason
        return InputContract()
    for extras in _extras(module):
        for channels, step in product((3, 1), STEPS):
            if found := _tried(shell, channels, *_sides(step), extras):
                least = _least(shell, channels, step, extras)
                return InputContract(
                    channels=channels, multiple_of=step, min_size=least, extras=extras, **found
                )
        for channels, side in product((3, 1), SIZES):
            if found := _tried(shell, channels, side, side, extras):
                return InputContract(channels=channels, size=side, extras=extras, **found)
    return _of_noise(shell) or _of_signal(shell) or _of_channels(shell) or InputContract()


def _check_channels(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Raise ValueError where a transposed convolution gets other channels than it takes."""
    assert isinstance(layer, TRANSPOSED)
    if inputs[0].shape[1] != layer.in_channels:  # on shapes alone, torch lets them pass
        raise ValueError(f"{inputs[0].shape[1]} channels of {layer.in_channels}")


def _needed(module: nn.Module) -> tuple[int, int]:
    """Return how many inputs the forward needs, and how many it may be given."""
    taken = inspect.signature(module.forward).parameters.values()
    plain = [p for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in plain), len(plain)


def _extras(module: nn.Module) -> Iterator[tuple[ExtraInput, ...]]:
    """Yield the further inputs to try: none; where the forward takes a second one, each kind."""
    needed, most = _needed(module)
    if needed <= 1:
        yield ()
    if not 1 < needed <= 3 and not (needed == 1 and most > 1):
        return
    kinds = [ExtraInput("class", size) for size in _tables(module)]
    kinds += [ExtraInput("mask"), ExtraInput("image", 3)]
    kinds += [ExtraInput("mask", n) for n in _mask_channels(module)]
    short = [ExtraInput("label" if n <= LABELS else "vector", n) for n in LENGTHS]
    for extra in (*kinds, *short):
        if needed < 3:
            yield (extra,)
    yield from product((*kinds, *_fewer(short)), repeat=2) if needed == 3 else ()


def _tables(module: nn.Module) -> list[int]:
    """Return the number of classes, if there is an embedding."""
    return [m.num_embeddings for m in module.modules() if isinstance(m, nn.Embedding)][:1]


def _mask_channels(module: nn.Module) -> list[int]:
    """Return the channels that a label map may have: those that convolutions take and no one makes.

    An image may be joined to it first, so three fewer count as well.
    """
    counts = dict.fromkeys(n - joined for n in _taken_only(module) for joined in (3, 0))
    return [n for n in counts if 1 < n <= MOST_CLASSES and n != 3]


def _taken_only(module: nn.Module) -> list[int]:
    """Return the numbers of channels that convolutions take and no one makes, at most four."""
    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    made = {layer.out_channels for layer in layers}
    return list(dict.fromkeys(n for m in layers if (n := m.in_channels) not in made))[:4]


def _of_channels(shell: nn.Module) -> InputContract | None:
    """Return the contract of a generator of images with further channels, such as a mask."""
    counts = [n for n in _taken_only(shell) if n not in (1, 3) and n <= MOST_CHANNELS]
    for channels, step in product(counts if _needed(shell)[0] <= 1 else (), STEPS):
        if found := _tried(shell, channels, *_sides(step), ()):
            return InputContract(channels=channels, multiple_of=step, **found)
    return None


def _fewer(extras: list[ExtraInput]) -> list[ExtraInput]:
    return [extra for extra in extras if extra.size in (5, 8, 10, 64, 128, 256, 512)]


def _sides(step: int) -> tuple[int, int]:
    """Return height and width: odd multiples of `step`, and so of no larger one of STEPS."""
    first = max(1, MIN_SIDE // step) | 1
    return first * step, (first + 2) * step


def _least(shell: nn.Module, channels: int, step: int, extras: tuple[ExtraInput, ...]) -> int:
    """Return the least side in pixels where squares of `_sides` are too small, else 1.

    Norms over a single pixel refuse those, for instance.
    """
    first = _sides(step)[0]
    for times in (1, 2, 4):
        if _tried(shell, channels, first * times, first * times, extras):
            return first * times if times > 1 else 1
    return 1


def _tried(
    shell: nn.Module, channels: int, height: int, width: int, extras: tuple[ExtraInput, ...]
) -> dict[str, Any]:
    """Return scale and output of an accepted image, {} where it is refused."""
    others = [extra.shape(1, height, width) for extra in extras]
    shapes = [(1, channels, height, width), *others]
    for name, image in _images(_run(shell, shapes, [torch.float32, *_kinds(extras)])):
        scale = image.shape[2] // height
        if scale and image.shape[2:] == (scale * height, scale * width):
            return {"scale": scale, "output": name}
    return {}


def _of_noise(shell: nn.Module) -> InputContract | None:
    """Return the contract of a generator of noise, whose length is that of its first layer."""
    lengths = dict.fromkeys(
        layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        for layer in shell.modules()
        if isinstance(layer, nn.Linear | nn.ConvTranspose2d)
    )
    alone = _needed(shell)[0] <= 1
    tried = dict.fromkeys([*list(lengths)[:4], *(() if alone else NOISE)])
    beside = [(0, ())] if alone else list(_conditions(shell, list(lengths)))
    for length, dims, (classes, extras) in product(tried, (2, 4), beside):
        shapes = [(1, length, 1, 1)[:dims], *([(1,)] if classes else [])]
        shapes += [extra.shape(1, 1, 1) for extra in extras]
        kinds = [torch.float32, *([torch.int64] if classes else []), *_kinds(extras)]
        for name, image in _images(_run(shell, shapes, kinds)):
            if image.shape[2] == image.shape[3] > 4:
                return InputContract(
                    latent_size=length, latent_dims=dims, output=name, classes=classes,
                    extras=extras,
                )  # fmt: skip
    return None


def _conditions(
    shell: nn.Module, lengths: list[int]
) -> Iterator[tuple[int, tuple[ExtraInput, ...]]]:
    """Yield what may stand beside noise: classes, or labels of lengths that a layer takes."""
    further = _needed(shell)[0] - 1
    if further == 1:
        yield from ((classes, ()) for classes in _tables(shell))
    short = [ExtraInput("label", n) for n in lengths if n <= LABELS][:3]
    short += [ExtraInput("label", 10)] if further == 1 else []
    if further <= 2:
        yield from ((0, extras) for extras in product(short, repeat=further))


def _of_signal(shell: nn.Module) -> InputContract | None:
    """Return the contract of a generator of waveforms, whose channels its first layer has."""
    channels = dict.fromkeys(m.in_channels for m in shell.modules() if isinstance(m, nn.Conv1d))
    counts = list(channels)[:4]
    beside: list[tuple[ExtraInput, ...]] = [()]
    if _needed(shell)[0] == 2:
        beside = [(ExtraInput("class", n),) for n in _tables(shell)]
        beside += [(ExtraInput("noise", n),) for n in counts]
    for extras, count, step in product(beside, counts, STEPS):
        length = _sides(step)[0]
        shapes = [(1, count, length), *(extra.shape(1, 1, length) for extra in extras)]
        made = _run(shell, shapes, [torch.float32, *_kinds(extras)])
        if not isinstance(made, Tensor) or made.dim() != 3:
            continue
        scale = made.shape[2] // length
        if scale and made.shape[2] == scale * length:
            return InputContract(
                channels=count, multiple_of=step, scale=scale, extras=extras, signal=True
            )
    return None


def _kinds(extras: Sequence[ExtraInput]) -> list[torch.dtype]:
    return [torch.int64 if extra.kind == "class" else torch.float32 for extra in extras]


def _images(made: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the images among a forward's outputs, each with its index or key, '' for a sole one."""
    if isinstance(made, Tensor):
        pairs = [("", made)]
    else:
        pairs = list(made.items() if isinstance(made, dict) else enumerate(made or ()))
    images = [(str(n), v) for n, v in pairs if isinstance(v, Tensor) and v.dim() == 4]
    in_colour = any(image.shape[1] == 3 for _, image in images)
    for name, image in images:
        if image.shape[1] == 3 or (image.shape[1] == 1 and not in_colour):
            yield name, image


@torch.no_grad()
def _run(shell: nn.Module, shapes: list[tuple[int, ...]], kinds: list[torch.dtype]) -> Any:
    """Return what the module makes of tensors of these shapes; None where it refuses them."""
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            inputs = [torch.zeros(s, dtype=kind) for s, kind in zip(shapes, kinds, strict=True)]
            made = shell(*inputs)
    except Exception:  # any error means that the module refuses them
        return None
    return made if isinstance(made, Tensor | tuple | list | dict) else None
