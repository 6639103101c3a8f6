"""What a teacher's images depend on besides their input, found by running it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import InputContract
from gan_slimming.data.adapter import dummy_inputs
from gan_slimming.data.whole_copy import whole_copy
from gan_slimming.models.dropout import WithoutDropout
from gan_slimming.training.trials import FAULTS, SMALL, takes_side

DROPOUT = (
    "dropout with training=True in its forward, which eval() does not switch off (compress leaves "
    "it out, unless --dropout keep)"
)
VANISHED = 1e-9
"""Largest output of a layer that counts as nearly zero."""
NEAR = 1e-3
"""Largest difference, relative to the largest value, that counts as rounding."""


def describe_test_time(teacher: nn.Module, contract: InputContract, side: int) -> str:
    """Return one line on what a teacher's images depend on besides their input; '' for nothing.

    It is run twice, at two sizes of batch, and with doubtful layers in training mode.

    Args:
        teacher: frozen, in evaluation mode; it is not changed.
        side: height and width in pixels of the run's images.
    """
    pair = _pair(teacher, contract, side)
    alone = tuple(x[:1] for x in pair)
    first = _made(teacher, alone, 0)
    found = []
    if contract.dropout == "off" or drops(teacher, contract, side):
        found.append(DROPOUT)
    elif draws_noise(teacher, contract, side):
        found.append("noise drawn inside (student and teacher get the same; --fix-noise keeps it)")
    elif not _same(first, _made(teacher, pair, 0)):
        found.append("the other images of the batch (the teacher gets one at a time)")
    found += [why for why, layers in DOUBTFUL.items() if _moves(teacher, layers, alone, first)]
    return f"the teacher's images depend on {'; and on '.join(found)}" if found else ""


def describe_vanishing(teacher: nn.Module, contract: InputContract, side: int) -> str:
    """Return one line on the first layer whose outputs are nearly zero; '' for none.

    Only where batch norms were never trained, which is the cause: a trained teacher may have
    branches that died. Exact zeros are no such case: branches begin with them. Arguments as above.
    """
    if not has_untrained_norms(teacher):
        return ""
    found: list[tuple[str, float]] = []

    def hook(path: str) -> Callable[..., None]:
        def look(layer: nn.Module, inputs: Any, output: Any) -> None:
            top = float(output.abs().max()) if isinstance(output, Tensor) else 0.0
            if 0 < top < VANISHED:
                found.append((path, top))

        return look

    layers = [(path, m) for path, m in teacher.named_modules() if [*m.parameters(recurse=False)]]
    handles = [layer.register_forward_hook(hook(path)) for path, layer in layers]
    try:
        _made(teacher, tuple(x[:1] for x in _pair(teacher, contract, side)), 0)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        return ""
    path, top = found[0]
    return (
        f"the teacher's images vanish on their way: layer {path} gives at most {top:.1g}; its "
        "batch norms were never trained: give trained weights with --weights, or, if your own "
        "script leaves the teacher in train(), add --teacher-mode train"
    )


def drops(teacher: nn.Module, contract: InputContract, side: int) -> bool:
    """Return whether the forward calls dropout with training=True; side as above."""
    with WithoutDropout() as mode:
        _made(teacher, tuple(x[:1] for x in _pair(teacher, contract, side)), 0)
    return mode.found


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


def has_untrained_norms(teacher: nn.Module) -> bool:
    """Return whether a batch norm's running statistics were never updated."""
    return any(_is_untrained(layer) for layer in teacher.modules())


def _is_untrained(layer: nn.Module) -> bool:
    """Return whether a layer is a batch norm whose running statistics were never updated."""
    if not isinstance(layer, nn.modules.batchnorm._BatchNorm) or layer.running_mean is None:
        return False
    assert layer.running_var is not None
    return not layer.running_mean.any() and bool((layer.running_var == 1).all())


def _is_dropout(layer: nn.Module) -> bool:
    return isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0


DOUBTFUL: dict[str, Callable[[nn.Module], bool]] = {
    "statistics that its batch norms never updated (if your own script leaves it in train(), add "
    "--teacher-mode train)": _is_untrained,
    "dropout, which is off here (a script that leaves it in train(), as pix2pix's, draws another "
    "image each time)": _is_dropout,
}
"""What may differ from the user's own script -> the layers that it concerns.

Batch norms with trained statistics are no doubt: every network of noise has them.
"""


def _moves(
    teacher: nn.Module,
    concerns: Callable[[nn.Module], bool],
    inputs: tuple[Tensor, ...],
    expected: Tensor | None,
) -> bool:
    """Return whether the image is another one with the layers concerned in training mode."""
    if not any(concerns(layer) for layer in teacher.modules()):
        return False
    copied = whole_copy(teacher)
    for layer in copied.modules():
        layer.training = concerns(layer)
    return not _same(expected, _made(copied, inputs, 0))


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
