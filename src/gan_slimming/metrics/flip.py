"""FLIP of Andersson et al. 2020, by the authors' own package, where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

Measure = Callable[[Tensor, Tensor], Tensor]
"""(made, reference), both (batch, 3, height, width) RGB in [-1, 1] -> (batch,) distances."""


def flip_at_hand() -> Measure | None:
    """Return FLIP if flip-evaluator is installed, else None."""
    return flip if importlib.util.find_spec("flip_evaluator") else None


def flip(made: Tensor, reference: Tensor) -> Tensor:
    """Return the mean LDR-FLIP (batch,) in [0, 1] at 67 pixels per degree; 0 when equal.

    Images are (batch, 3, height, width) RGB in [-1, 1].
    """
    evaluate = importlib.import_module("flip_evaluator").evaluate
    found = []
    for pair in zip(reference, made, strict=True):
        arrays = [((x.float().cpu().clamp(-1, 1) + 1) / 2).permute(1, 2, 0).numpy() for x in pair]
        found.append(evaluate(*arrays, "LDR", applyMagma=False)[1])
    return torch.tensor(found)
