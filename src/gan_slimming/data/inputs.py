"""What a generator is fed: pictures, or noise and classes, behind one interface.

In the package's own form a batch is `Fed`: (pictures,) with RGB in [-1, 1]; (latents,); or
(latents, classes). What the generator itself takes is made of it at the border.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_slimming.config import InputContract, UserError
from gan_slimming.data.image_files import check_channels, to_contract

Fed = tuple[Tensor, ...]
"""(pictures (batch, 3, height, width),), (latents (batch, latent_size),), or those latents with
classes (batch,) int64."""

Generate = Callable[..., Tensor]
"""What a generator is fed, in the package's own form -> pictures RGB in [-1, 1]."""
Border = Callable[[nn.Module], Generate]
"""Wraps a generator so that it takes the package's own form and gives RGB pictures in [-1, 1]."""


class Feed(Protocol):
    """A set of things to feed a generator with, each found again under its index."""

    def views(self, shrink: int = 1, draws: int = 0) -> int:
        """In how many ways each thing of it is shown, if so many are drawn in all; at least 1."""
        ...

    def distinct(self, draws: int) -> int:
        """How many of it a run takes in which so many are drawn; at most len(self)."""
        ...

    def __len__(self) -> int: ...

    def fed(self, indices: Tensor, views: Tensor, shrink: int = 1) -> Fed:
        """A batch in the package's own form.

        Args:
            indices: (batch,) int64 below len(self).
            views: (batch,) int64, in which way each is shown.
            shrink: pictures are made smaller by this whole factor.
        """
        ...


def to_inputs(fed: Fed, contract: InputContract) -> Fed:
    """What the generator's forward takes, from the package's own form."""
    return fed if contract.latent_size else (to_contract(fed[0], contract),)


def example_inputs(contract: InputContract, size: int, like: nn.Module | None = None) -> Fed:
    """Zeros of the kinds and shapes that the generator's forward takes, a batch of one.

    Args:
        size: height and width in pixels, where it takes pictures.
        like: the generator, whose device and number format the zeros get; None leaves torch's own.
    """
    if not contract.latent_size:
        fed: Fed = (torch.zeros(1, contract.channels, size, size),)
    else:
        fed = (torch.zeros(1, contract.latent_size),)
        fed += (torch.zeros(1, dtype=torch.int64),) if contract.classes else ()
    parameter = next(like.parameters(), None) if like is not None else None
    if parameter is None:
        return fed
    return tuple(x.to(parameter) if x.is_floating_point() else x.to(parameter.device) for x in fed)


def output_side(generator: nn.Module, contract: InputContract, size: int) -> int:
    """Height and width in pixels of what the generator makes, found by running it once.

    Args:
        size: height and width of its input, where it takes pictures.
    Raises:
        UserError: it does not take what its contract says, or gives something else than square
            pictures of one or three channels, `scale` times as large as its input.
    """
    check_channels(contract)
    inputs = example_inputs(contract, size, generator)
    went = " and ".join(str(tuple(x.shape)) for x in inputs)
    was_training = generator.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            made = generator.eval()(*inputs)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"the generator does not take {went}, which its InputContract says: {reason}"
            ) from error
        finally:
            generator.train(was_training)
    if isinstance(made, tuple | list | dict):
        raise UserError(
            f"the generator makes {len(made)} outputs; name a factory whose module returns the "
            "picture alone"
        )
    came = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
    square = isinstance(made, Tensor) and made.ndim == 4 and made.shape[1] in (1, 3)
    if not square or made.shape[2] != made.shape[3]:
        raise UserError(
            f"the generator makes {came} of {went}; it must make square pictures "
            "(1, 3, side, side), or (1, 1, side, side) in grey"
        )
    side = int(made.shape[3])
    if not contract.latent_size and side != size * contract.scale:
        raise UserError(
            f"the generator makes {side}x{side} of {size}x{size} pixels, its InputContract says "
            f"scale={contract.scale}; set scale to {side / size:g}"
        )
    return side


def shrunk(pictures: Tensor, factor: int) -> Tensor:
    """Pictures (batch, 3, height, width) made smaller by a whole factor, each pixel a mean."""
    return F.avg_pool2d(pictures, factor) if factor > 1 else pictures


def enlarged(pictures: Tensor, least: int) -> Tensor:
    """Pictures (batch, 3, height, width) with no side below `least` pixels (bilinear)."""
    side = min(pictures.shape[-2:])
    if side >= least:
        return pictures
    size = [round(length * least / side) for length in pictures.shape[-2:]]
    return F.interpolate(pictures, size, mode="bilinear", align_corners=False)
