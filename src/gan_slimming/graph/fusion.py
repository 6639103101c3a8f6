"""Functions of tensors that torch.compile turns into one pass over memory.

PyTorch reads and writes whole tensors once per operator. On a narrow student the operators between
its convolutions, fake quantisation above all, then take longer than the convolutions. Fused, they
take a quarter of that. A compiler for C++ is needed, and half a minute for the first run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

RECOMPILE_LIMIT = 64
"""Variants of one function: bits, signs, types and layouts."""
P = ParamSpec("P")
R = TypeVar("R")


class _Switch:
    """Whether functions run compiled now."""

    on = False


class Fusible(Generic[P, R]):
    """A function that runs as it is written, and compiled inside of `fusing()`.

    It takes dense tensors and numbers, and calls operators of PyTorch alone; no gradient passes
    through it. Sizes are variables of the compiled code, so that the same code runs before a cut
    and after it, and in a resumed run.
    """

    def __init__(self, function: Callable[P, R]):
        self.function = function
        self._compiled: Callable[P, R] | None = None
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not _Switch.on or _watched():
            return self.function(*args, **kwargs)
        if self._compiled is None:
            self._compiled = torch.compile(self.function, dynamic=True)
        held = [arg.detach() if isinstance(arg, Tensor) else arg for arg in args]
        return self._compiled(*held, **kwargs)  # pyright: ignore


def _watched() -> bool:
    """Return whether a mode sees each operator, such as the one that counts multiplications."""
    stacks = torch._C._len_torch_dispatch_stack(), torch._C._len_torch_function_stack()
    return any(stacks)


@contextmanager
def fusing(on: bool = True) -> Iterator[None]:
    """Run functions that can be fused compiled, or not, in the meantime."""
    before, _Switch.on = _Switch.on, on
    try:
        with _settings() if on and not before else nullcontext():
            yield
    finally:
        _Switch.on = before


@contextmanager
def _settings() -> Iterator[None]:
    """Compile in this process alone, and each function for all bits that one process may see."""
    import torch._dynamo.config as dynamo  # takes seconds, and only where something is compiled
    import torch._inductor.config as inductor

    with inductor.patch(compile_threads=1), dynamo.patch(recompile_limit=RECOMPILE_LIMIT):
        yield


def missing_for_fusion() -> str | None:
    """Return why nothing can be compiled here, in a few words; None where it can."""
    try:
        with warnings.catch_warnings(), fusing():
            warnings.simplefilter("ignore")  # of what torch itself imports
            _trial(torch.zeros(8))
    except Exception as error:  # of torch, of the compiler, of the file system
        return type(error).__name__
    return None


@Fusible
def _trial(values: Tensor) -> Tensor:
    return values.round() * 2


def flat(values: Tensor) -> Tensor:
    """Return values (count,) in the order in which they lie in memory, without a copy if dense."""
    return flat_as(values, values)


def flat_as(like: Tensor, values: Tensor) -> Tensor:
    """Return values (count,) of a tensor of the same shape in the order in which `like` lies."""
    return (values.permute(0, 2, 3, 1) if _channels_last(like) else values).reshape(-1)


def vectors_as(like: Tensor, values: Tensor) -> Tensor:
    """Return vectors of channels, in the order in which a tensor `like` of the same shape lies.

    Returns:
        (batch * height * width, channels) with channels last, else (batch, channels, places).
    """
    if _channels_last(like):
        return values.permute(0, 2, 3, 1).reshape(-1, values.shape[1])
    return values.flatten(2)


def laid_out_as(like: Tensor, values: Tensor) -> Tensor:
    """Return values of any shape, in the order in which `like` lies, as a tensor of its shape."""
    if not _channels_last(like):
        return values.view(like.shape)
    batch, channels, height, width = like.shape
    return values.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _channels_last(values: Tensor) -> bool:
    last = values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
    return last and not values.is_contiguous()
