"""The entry of a network in the registries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

StateDict = dict[str, torch.Tensor]


def unchanged(state: StateDict) -> StateDict:
    """Copy a state dict that has the module's own names already."""
    return dict(state)


@dataclass(frozen=True)
class Entry:
    """One registered network.

    Its InputContract is the attribute `contract` of the factory, or of the built module where it
    depends on arguments. Without one, the network takes RGB in [-1, 1].
    """

    description: str
    """One line for a list of names."""
    factory: Callable[..., nn.Module]
    infer: Callable[[StateDict], dict[str, Any]]
    """Adapted state dict -> the arguments that can be inferred from it."""
    adapt: Callable[[StateDict], StateDict] = unchanged
    """Published state dict -> the module's names and shapes; the module's own names stay."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Arguments implied by the name; a checkpoint cannot override them."""


def numbered(state: StateDict, prefix: str) -> int:
    """Count the different children <prefix>.0, <prefix>.1, ... in a state dict."""
    start = f"{prefix}."
    places = {name[len(start) :].split(".")[0] for name in state if name.startswith(start)}
    return sum(place.isdecimal() for place in places)


def size(state: StateDict, name: str, axis: int = 0) -> int | None:
    """Return the length of a weight's axis; None if it is missing or has fewer than two axes."""
    tensor = state.get(name)
    return None if tensor is None or tensor.ndim < 2 else int(tensor.shape[axis])


def known(**arguments: Any) -> dict[str, Any]:
    """Return the arguments that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}
