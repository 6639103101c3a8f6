"""Images and signals of any size through a generator that takes multiples of so many."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gan_slimming.data.adapter import GeneratorAdapter
from gan_slimming.errors import UserError, one_line


class CropBox(NamedTuple):
    """The size in pixels of an image before padding, from the top left corner."""

    height: int
    width: int


@torch.inference_mode()
def run_padded(generator: GeneratorAdapter, images: Tensor, *others: Tensor) -> Tensor:
    """Return the generator's images (batch, 3, scale * height, scale * width), in float32.

    The images are not tiled: with instance normalisation tiles would differ from the whole.

    Args:
        images: (batch, 3, height, width) RGB in [-1, 1], of any size.
        others: further inputs; masks and images are padded likewise.
    Raises:
        UserError: the generator does not take them, or its output has another size.
    """
    contract, scale = generator.contract, generator.contract.scale
    if 0 < contract.size < max(images.shape[-2:]):
        raise UserError(
            f"the generator takes images of {contract.size}x{contract.size} pixels only, got "
            f"{images.shape[-2]}x{images.shape[-1]}; make the image smaller first"
        )
    least = contract.size or contract.min_size
    padded, box = pad_to_multiple(images, contract.multiple_of, least)
    given = "x".join(map(str, padded.shape[1:]))
    try:
        result = generator(padded, *(_padded(x, contract.multiple_of, least) for x in others))
    except Exception as error:  # the user's module, or a runtime, may raise anything
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"the generator does not take {given} (channels x height x width): "
            f"{one_line(error)[:200]}; if it takes only multiples of so many pixels, its "
            "InputContract must say so (multiple_of)"
        ) from error
    height, width = padded.shape[-2:]
    if result.shape != (len(images), 3, scale * height, scale * width):
        came = "x".join(map(str, result.shape[1:]))
        raise UserError(
            f"the generator makes {came} of {given} (channels x height x width), where its "
            f"InputContract has scale={scale} and multiple_of={contract.multiple_of}; correct these"
        )
    return crop_back(result, CropBox(scale * box.height, scale * box.width)).float()


@torch.inference_mode()
def run_signal(generator: GeneratorAdapter, signals: Tensor, *others: Tensor) -> Tensor:
    """Return the generator's waveforms (batch, channels, scale * length), in float32.

    Args:
        signals: (batch, channels, length), of any length; padded at the end by reflection.
        others: further inputs; none takes fixed ones.
    Raises:
        UserError: the generator does not take them, or the output has another length.
    """
    contract, length = generator.contract, signals.shape[-1]
    if 0 < contract.size < length:
        raise UserError(
            f"the generator takes signals of {contract.size} frames only, got {length}; cut the "
            "signal first"
        )
    index = _padding_index(length, contract.next_side(length)).to(signals.device)
    padded = signals.index_select(-1, index)
    others = tuple(x.index_select(-1, index) if x.dim() == 3 else x for x in others)
    try:
        made = generator(padded, *others)
    except Exception as error:  # the user's module, or a runtime, may raise anything
        if is_out_of_memory(error):
            raise UserError(f"not enough memory for {length} frames; cut the signal") from error
        raise UserError(
            f"the generator does not take signals of {padded.shape[-1]} frames: "
            f"{one_line(error)[:200]}"
        ) from error
    if made.dim() != 3 or made.shape[-1] != contract.scale * padded.shape[-1]:
        raise UserError(
            f"the generator makes {tuple(made.shape)} of {padded.shape[-1]} frames, where its "
            f"InputContract has scale={contract.scale}; correct it"
        )
    return made[..., : contract.scale * length].float()


def _padded(x: Tensor, multiple: int, least: int) -> Tensor:
    return pad_to_multiple(x, multiple, least)[0] if x.dim() == 4 else x


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is short."""
    text = str(error).lower()
    kinds = (torch.cuda.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or "allocate memory" in text or "out of memory" in text


def pad_to_multiple(x: Tensor, multiple: int, minimum: int = 1) -> tuple[Tensor, CropBox]:
    """Pad (..., height, width) to multiples of `multiple` pixels, at least `minimum`.

    Padding is at the bottom and the right, so that strided layers keep their grid. It reflects
    without the border pixel, or repeats the border if the image is too small to reflect. crop_back
    undoes it.
    """
    box = CropBox(height=x.shape[-2], width=x.shape[-1])
    for dim, length in ((-2, box.height), (-1, box.width)):
        target = -(-max(length, minimum) // multiple) * multiple
        if target > length:
            x = x.index_select(dim, _padding_index(length, target).to(x.device))
    return x, box


def crop_back(y: Tensor, box: CropBox) -> Tensor:
    """Crop (..., height, width) to the image before pad_to_multiple."""
    if y.shape[-2] < box.height or y.shape[-1] < box.width:
        got = f"{y.shape[-2]}x{y.shape[-1]}"
        raise ValueError(f"cannot crop {got} pixels to the {box.height}x{box.width} of the input")
    return y[..., : box.height, : box.width]


def _padding_index(length: int, target: int) -> Tensor:
    index = torch.arange(target)
    last = length - 1
    if target - length <= last:
        return torch.where(index > last, 2 * last - index, index)
    return index.clamp(max=last)
