"""What a model module tells the registries about its network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

StateDict = dict[str, torch.Tensor]


def unchanged(state: StateDict) -> StateDict:
    """The adaptation of weights that carry the module's own names already."""
    return dict(state)


@dataclass(frozen=True)
class Entry:
    """One registered network.

    Its factory's attribute `contract`, or that of the module it returns where the arguments
    matter, is the InputContract; without one it takes RGB in [-1, 1].
    """

    description: str
    """One line for a list of names."""
    factory: Callable[..., nn.Module]
    infer: Callable[[StateDict], dict[str, Any]]
    """Arguments that can be read off an adapted state dict."""
    adapt: Callable[[StateDict], StateDict] = unchanged
    """A published state dict to the module's names and shapes; leaves its own names alone."""
    fixed: dict[str, Any] = field(default_factory=dict)
    """Arguments that the name stands for; a checkpoint cannot overrule them."""


def numbered(state: StateDict, prefix: str) -> int:
    """How many different children <prefix>.0, <prefix>.1, ... a state dict has."""
    start = f"{prefix}."
    places = {name[len(start) :].split(".")[0] for name in state if name.startswith(start)}
    return sum(place.isdecimal() for place in places)


def size(state: StateDict, name: str, axis: int = 0) -> int | None:
    """Length of an axis of a weight of at least two dimensions; None where it has none."""
    tensor = state.get(name)
    return None if tensor is None or tensor.ndim < 2 else int(tensor.shape[axis])


def known(**arguments: Any) -> dict[str, Any]:
    """The arguments that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}
