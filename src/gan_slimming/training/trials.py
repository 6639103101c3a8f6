"""What a generator can do, found by running it: channels last, bfloat16, other sizes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.data.inputs import Inputs

SMALL = 64
"""Height and width in pixels of the images of a trial, where the generator takes them."""
FAULTS = (RuntimeError, TypeError, ValueError, IndexError, AssertionError, NotImplementedError)
"""Errors by which a user's forward refuses its inputs."""


def prefer_channels_last(generator: nn.Module, contract: InputContract, side: int) -> bool:
    """Lay weights out with channels last, in place, and return whether the generator takes that.

    Wide convolutions are faster so. A forward that views its activations, as x.view(1, -1, h, w),
    takes only plain tensors.

    Args:
        generator: frozen, on the run's device.
        side: height and width in pixels of the run's images.
    """
    _lay_out(generator, torch.channels_last)
    if all(
        not _fault(generator, inputs, last=True) for inputs in _trials(generator, contract, side)
    ):
        return True
    _lay_out(generator, torch.contiguous_format)
    return False


def no_bfloat16(generator: nn.Module, inputs: Inputs, device: str) -> str:
    """Return what a generator lacks to train in mixed bfloat16, as an FFT does; '' if nothing.

    Args:
        inputs: at the size of the run.
    """
    generator.to(device)
    moved = tuple(tensor.to(device) for tensor in inputs)
    return _fault(generator, moved, bfloat16=True)


def takes_side(generator: nn.Module, contract: InputContract, side: int) -> bool:
    """Return whether a frozen generator takes images of `side` x `side` pixels, by one run."""
    inputs = dummy_inputs(contract, side, like=generator)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            made = generator(*inputs)
    except FAULTS:
        return False
    return isinstance(made, Tensor) and made.shape[-1] == side * contract.scale


def _trials(generator: nn.Module, contract: InputContract, side: int) -> Iterable[Inputs]:
    """Yield inputs of batch 2 and 1, small where the generator takes small ones."""
    small = min(side, contract.next_side(SMALL))
    if contract.latent_size or not takes_side(generator, contract, small):
        small = side
    for batch in (2, 1):
        yield dummy_inputs(contract, small, batch=batch, like=generator)


def _lay_out(generator: nn.Module, layout: torch.memory_format) -> None:
    for tensor in (*generator.parameters(), *generator.buffers()):
        if tensor.dim() == 4:  # Module.to would stumble over weights of five axes
            tensor.data = tensor.data.contiguous(memory_format=layout)


def _fault(
    generator: nn.Module, inputs: Inputs, *, last: bool = False, bfloat16: bool = False
) -> str:
    """Run a generator forward and backward; return the first line of its error, '' for none."""
    if last:
        inputs = tuple(channels_last(x) for x in inputs)
    frozen = [p for p in generator.parameters() if not p.requires_grad and p.is_floating_point()]
    device = inputs[0].device.type
    cast: Any = torch.autocast(device, torch.bfloat16) if bfloat16 else contextlib.nullcontext()
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            with cast:
                made = generator(*inputs)
            if isinstance(made, Tensor) and made.requires_grad:
                gradient = channels_last(torch.ones_like(made)) if last else torch.ones_like(made)
                torch.autograd.grad(made, frozen or [made], gradient, allow_unused=True)
    except FAULTS as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    return ""


def channels_last(values: Tensor) -> Tensor:
    """Return images with channels last; other tensors as they are."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
