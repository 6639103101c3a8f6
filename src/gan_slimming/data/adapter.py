"""The conversion between the package's images and a generator's own convention."""

from __future__ import annotations

import inspect
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.dummy import dummy_arrays
from gan_slimming.data.inputs import Inputs
from gan_slimming.errors import UserError, one_line

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey image (ITU-R BT.601)."""

SEVERAL = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
"""Kinds of parameters that need no input: *inputs, **more."""


class GeneratorAdapter(nn.Module):
    """A generator that maps batches of `data.inputs` to RGB images in [-1, 1].

    Args:
        generator: maps images or noise to images (batch, 1 or 3, height, width).
        contract: the convention of its inputs and outputs.
    """

    def __init__(self, generator: nn.Module, contract: InputContract) -> None:
        super().__init__()
        self.generator = generator
        self.contract = contract

    def forward(self, *batch: Tensor) -> Tensor:
        """Return images (batch, 3, height, width), RGB, in [-1, 1] unless the generator exceeds it.

        Args:
            batch: images (batch, 3, height, width), RGB in [-1, 1]; or latents, and any classes.
        """
        return from_contract(self.generator(*to_inputs(batch, self.contract)), self.contract)


def to_inputs(batch: Inputs, contract: InputContract) -> Inputs:
    """Convert a batch of the package to arguments of the generator's forward."""
    first, *others = batch
    if contract.latent_size:
        if contract.extras and len(others) < len(contract.extras):
            drawn = dummy_inputs(contract, 0, batch=len(first))[-len(contract.extras) :]
            others += [x.to(first.device) for x in drawn]
        return (first[(...,) + (None,) * (contract.latent_dims - first.dim())], *others)
    images = first if contract.signal else to_contract(first, contract)
    if contract.extras and not others:  # plain images, as translate has them
        height, width = images.shape[-2:]
        drawn = dummy_inputs(contract, (height, width), batch=len(images))[1:]
        others = [x.to(images.device) for x in drawn]
    pairs = zip(contract.extras, others, strict=False)
    return (images, *(to_contract(x, contract) if e.kind == "image" else x for e, x in pairs))


def to_contract(images: Tensor, contract: InputContract) -> Tensor:
    """Convert RGB images (..., 3, height, width) to the generator's channels, order and range.

    A single channel is luma (ITU-R BT.601), as in Pillow's mode L. Images of another number of
    channels than 1 and 3, which only a dataset has, are in the generator's own convention.

    Raises:
        UserError: the generator takes other channels than these.
    """
    if contract.channels not in (1, 3) and images.shape[-3] == contract.channels:
        return images
    check_channels(contract)
    if contract.channels == 1:
        images = (images * images.new_tensor(LUMA)[:, None, None]).sum(-3, keepdim=True)
    images = images.flip(-3) if contract.colour_order == "BGR" else images
    return images * ((contract.high - contract.low) / 2) + (contract.high + contract.low) / 2


def from_contract(images: Tensor, contract: InputContract) -> Tensor:
    """Convert images of the generator's, of 1 or 3 channels, to RGB without clamping.

    Those of another number of channels, and signals, stay as they are.
    """
    if contract.signal or images.shape[-3] not in (1, 3):
        return images
    centre, half = (contract.high + contract.low) / 2, (contract.high - contract.low) / 2
    images = (images - centre) / half
    if images.shape[-3] == 1:
        return images.expand(*images.shape[:-3], 3, -1, -1)
    return images.flip(-3) if contract.colour_order == "BGR" else images


def check_channels(contract: InputContract) -> None:
    """Raise UserError for a generator that takes neither 1 nor 3 channels."""
    if contract.channels not in (1, 3):
        raise UserError(
            f"images have 3 channels, or 1 in grey; the generator's contract says "
            f"{contract.channels}; give its inputs by --dataset, or wrap it in a module that makes "
            "these of an image"
        )


def dummy_inputs(
    contract: InputContract,
    size: int | tuple[int, int],
    *,
    batch: int = 1,
    like: nn.Module | None = None,
) -> Inputs:
    """Return constant dummy inputs for the generator's forward.

    Args:
        size: side, or height and width, in pixels; unused for noise.
        like: a generator, whose device and floating-point type the inputs take.
    """
    inputs = tuple(torch.from_numpy(array) for array in dummy_arrays(contract, size, batch))
    parameter = next(like.parameters(), None) if like is not None else None
    if parameter is None:
        return inputs
    return tuple(
        x.to(parameter) if x.is_floating_point() else x.to(parameter.device) for x in inputs
    )


def output_side(generator: nn.Module, contract: InputContract, size: int) -> int:
    """Return the height and width in pixels of the generator's output, after one run.

    Of a signal, return the length of the waveform.

    Args:
        size: height and width of the input in pixels; unused for noise.
    Raises:
        UserError: the generator refuses inputs of its contract, or its output is not a square image
            of 1 or 3 channels, `scale` times as large as its input.
    """
    made, given = _run(generator, contract, size)
    if isinstance(made, tuple | list | dict):
        raise UserError(
            f"the generator makes {len(made)} outputs; name a factory whose module returns the "
            "image alone"
        )
    came = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
    if contract.signal:
        return _length(came, given, size, contract)
    square = isinstance(made, Tensor) and made.ndim == 4 and made.shape[1] in (1, 3)
    if not square or made.shape[2] != made.shape[3]:
        raise UserError(
            f"the generator makes {came} of {given}; it must make square images "
            "(1, 3, side, side), or (1, 1, side, side) in grey"
        )
    side = int(made.shape[3])
    if not contract.latent_size and side != size * contract.scale:
        raise UserError(
            f"the generator makes {side}x{side} of {size}x{size} pixels, its InputContract says "
            f"scale={contract.scale}; set scale to {side / size:g}"
        )
    return side


def _length(came: Any, given: str, size: int, contract: InputContract) -> int:
    """Return the length of a waveform of this shape; raise UserError for another than declared."""
    if not isinstance(came, tuple) or len(came) != 3:
        raise UserError(
            f"the generator makes {came} of {given}; of a signal it must make a waveform "
            "(1, channels, length)"
        )
    if came[2] != size * contract.scale:
        raise UserError(
            f"the generator makes {came[2]} samples of {size} frames, its InputContract says "
            f"scale={contract.scale}; set scale to {came[2] / size:g}"
        )
    return int(came[2])


def check_taken(generator: nn.Module, contract: InputContract, size: int) -> None:
    """Raise UserError where the generator refuses inputs of its contract at a size in pixels."""
    _run(generator, contract, size)


def _advice(generator: nn.Module, given: int) -> str:
    """Return which contract to declare, for a generator that refuses so many inputs."""
    taken = inspect.signature(generator.forward).parameters.values()
    needed = [p.name for p in taken if p.default is p.empty and p.kind not in SEVERAL]
    if len(needed) > given:
        return (
            f"its forward takes {', '.join(needed)}: give it an attribute contract that names what "
            "stands behind the image or signal, such as InputContract(extras=(ExtraInput('mask', "
            "19),)), or wrap it in a module whose forward takes the image or signal first and "
            "draws its noise inside"
        )
    return (
        "give it an attribute contract, such as InputContract(latent_size=100) for noise, or "
        "InputContract(channels=80, scale=256, signal=True) for mel spectrograms"
    )


def _run(generator: nn.Module, contract: InputContract, size: int) -> tuple[Any, str]:
    """Return the output in evaluation mode, without advancing the random state, and the shapes."""
    inputs = dummy_inputs(contract, size, like=generator)
    given = " and ".join(str(tuple(x.shape)) for x in inputs)
    was_training = generator.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            generator.eval()  # a user's own may return nothing
            return generator(*inputs), given
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = one_line(error)[:300]
            raise UserError(
                f"the generator does not take {given}, which its InputContract (without one, RGB "
                f"images) says: {reason}; {_advice(generator, len(inputs))}"
            ) from error
        finally:
            generator.train(was_training)
