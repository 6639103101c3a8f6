"""What a teacher's images depend on besides their input, found by running it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.training.trials import FAULTS, SMALL, takes_side

NEAR = 1e-3
"""Largest difference, relative to the largest value, that counts as rounding."""


def describe_test_time(teacher: nn.Module, contract: InputContract, side: int) -> str:
    """Return one line on what a teacher's images depend on besides their input; '' for nothing.

    It is run twice, at two sizes of batch and in both modes.

    Args:
        teacher: frozen, in evaluation mode; it is not changed.
        side: height and width in pixels of the run's images.
    """
    pair = _pair(teacher, contract, side)
    alone = tuple(x[:1] for x in pair)
    first = _made(teacher, alone, 0)
    found = []
    if draws_noise(teacher, contract, side):
        found.append("noise drawn inside (student and teacher get the same; --fix-noise keeps it)")
    elif not _same(first, _made(teacher, pair, 0)):
        found.append("the other images of the batch (the teacher gets one at a time)")
    if any(isinstance(m, Drawing) for m in teacher.modules()):
        trains = copy.deepcopy(teacher)
        trains.train()
        if not _same(first, _made(trains, alone, 0)):
            found.append(
                "the mode: it runs in eval(), without dropout and with the running statistics of "
                "batch norm; if your own script never calls eval(), add --teacher-mode train"
            )
    return f"the teacher's images depend on {'; and on '.join(found)}" if found else ""


def draws_noise(teacher: nn.Module, contract: InputContract, side: int) -> bool:
    """Return whether the teacher gives another image when it is run again; side as above."""
    alone = tuple(x[:1] for x in _pair(teacher, contract, side))
    return not _same(_made(teacher, alone, 0), _made(teacher, alone, 1))


def _pair(teacher: nn.Module, contract: InputContract, side: int) -> tuple[Tensor, ...]:
    """Return inputs of batch 2, small where the teacher takes small images."""
    small = min(side, contract.next_side(SMALL))
    if contract.latent_size or not takes_side(teacher, contract, small):
        small = side
    return dummy_inputs(contract, small, batch=2, like=teacher)


Drawing = nn.modules.batchnorm._NormBase | nn.modules.dropout._DropoutNd
"""Layers that compute something else in training mode."""


@torch.no_grad()
def _made(teacher: nn.Module, inputs: tuple[Tensor, ...], seed: int) -> Tensor | None:
    """Return the first image, with random numbers of this seed; None where the teacher refuses."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            made: Any = teacher(*inputs)
        except FAULTS:
            return None
    return made[:1] if isinstance(made, Tensor) else None


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.shape != other.shape:
        return True  # nothing to compare
    return float((one - other).abs().max()) <= NEAR * float(one.abs().max().clamp_min(1e-6))
