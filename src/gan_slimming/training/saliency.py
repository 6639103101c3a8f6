"""The saliency of channels, at which their gates start, and the effect of residual blocks.

The gamma of a released generator says little about a channel: other weights can make up for it.
This measure does not depend on how a network is parametrised. It is the diagonal of the
Gauss-Newton matrix of a multi-scale pixel distance with respect to the gates,

    s_c^2 = E_{x, v} [ (d/dg_c <v, Phi(G(x))>)^2 ],     v random, Phi an average-pooling pyramid,

to first order the squared change of the image that removing channel c makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_slimming.errors import UserError
from gan_slimming.student.student import Student
from gan_slimming.student.surgery import set_gates

DRAWS = 2
"""Random directions per image."""
MIN_GATE = 0.02
"""Smallest starting gate, relative to the mean."""


def channel_saliency(
    student: Student, inputs: Iterable[tuple[Tensor, ...]], seed: int
) -> dict[str, Tensor]:
    """Return s_c of every prunable group's channels, (channels,) each, at the present gates.

    Args:
        inputs: batches of one in the generator's own convention.
        seed: of the random directions.
    """
    generator = torch.Generator().manual_seed(seed)
    gates = list(student.gates)
    squares = [torch.zeros_like(gate) for gate in gates]
    student.eval()
    for values in inputs:
        for _ in range(DRAWS):
            image = student(*values).float()
            if gates and not image.requires_grad:
                raise UserError(
                    "the generator's image does not depend on any channel that can be taken out; "
                    "name its output in an InputContract, and protect what has no effect"
                )
            projection = _projection(image, generator)
            gradients = torch.autograd.grad(projection, gates, allow_unused=True)
            for square, gradient, gate in zip(squares, gradients, gates, strict=True):
                if gradient is not None:  # a part of the forward may stop gradients
                    square += (gradient * gate).square()
    student.train()
    names = [group.name for group in student.graph.prunable]
    return {name: square.sqrt().detach() for name, square in zip(names, squares, strict=True)}


def start_gates(student: Student, inputs: Iterable[tuple[Tensor, ...]], seed: int) -> None:
    """Set the gates to the channels' saliency (mean 1) without changing the function.

    They stay where they are if no gate moves the output, as behind a saturated tanh.
    """
    saliency = channel_saliency(student, inputs, seed)
    mean = torch.cat(list(saliency.values())).mean()
    if not 0 < float(mean) < float("inf"):
        return
    set_gates(student, {name: (s / mean).clamp(MIN_GATE, 10.0) for name, s in saliency.items()})


@torch.no_grad()
def block_effects(
    network: nn.Module, paths: Sequence[str], images: Callable[[], Tensor]
) -> dict[str, float]:
    """Return path -> mean difference of the images where this residual block is the identity.

    Args:
        network: holds the blocks.
        images: runs it on some inputs.
    """
    whole, effects = images(), {}
    for path in paths:
        block = network.get_submodule(path)
        hook = block.register_forward_hook(lambda _, taken, made: taken[0])
        try:
            effects[path] = float((images() - whole).abs().mean())
        finally:
            hook.remove()
    return effects


def _projection(image: Tensor, generator: torch.Generator) -> Tensor:
    """Return <v, Phi(image)>, of unit variance per level of the pyramid."""
    total = image.new_zeros(())
    for level in range(4):
        direction = torch.randn(image.shape, generator=generator).to(image)
        total = total + (direction * image).sum() / image.numel() ** 0.5 * 2**level
        if min(image.shape[-2:]) < 4:
            break
        image = F.avg_pool2d(image, 2)
    return total
