"""Channel counts that a user's modules keep as attributes, as torch's own layers do.

`weight.view(batch, self.out_channels, ...)` can be cut if `self.out_channels` is cut with it, and
`torch.split(x, self.n, dim=1)` if `self.n` stays half of the channels. An attribute is a candidate
if it stands in such a ratio to one tensor axis, in every module of its class or in this one alone.
`verify_cut` then tests whether it really counts these channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor, nn

from gan_slimming.pruning.groups import ChannelGroup, Numbers, owner_of
from gan_slimming.pruning.pruned_norms import PRUNED_NORMS

NOTE = "remembered_numbers"
"""Key under which a cut module lists its changed attributes."""
OWN = set(PRUNED_NORMS.values())
"""Layers of this package, whose channel counts `slicing` updates."""
MAX_READINGS = 6
"""Number of readings of one attribute, at most."""
RATIOS = [Fraction(*pair) for pair in ((1, 1), (1, 2), (2, 1), (1, 3), (1, 4), (3, 1), (4, 1))]
"""Ratios of an attribute to the channels on an axis, most likely first."""
Axes = Mapping[tuple[str, int], np.ndarray]
"""(tensor, axis) -> the channels on it."""
Places = Sequence[tuple[str, nn.Module]]
"""Modules with their paths."""


def readings(
    module: nn.Module, axes: Axes, groups: Iterable[ChannelGroup], *, alone: bool = False
) -> dict[str, list[Numbers]]:
    """Map each attribute of the user's classes to its readings: which axes it may count.

    The likeliest comes first; {} means that it counts no channels.

    Args:
        groups: groups whose channels are to be counted; other attributes are left out.
        alone: read every module by itself, apart from the others of its class.
    """
    asked = {(member.tensor, member.axis) for group in groups for member in group.members}
    classes: dict[str, list[tuple[str, nn.Module]]] = defaultdict(list)
    for path, child in module.named_modules():
        kind = type(child)
        if not kind.__module__.startswith("torch.") and kind not in OWN:
            classes[path if alone else f"{kind.__module__}.{kind.__qualname__}"].append(
                (path, child)
            )
    found: dict[str, list[Numbers]] = {}
    for kind, same in classes.items():
        for name, value in vars(same[0][1]).items():
            if type(value) is int and value > 1 and (places := _meanings(name, same, axes, asked)):
                found[f"{kind}.{name}"] = _ordered(name, same, places)
    return found


def _ordered(name: str, same: Places, places: Sequence[tuple[str, int, Fraction]]) -> list[Numbers]:
    """Return the readings of an attribute; {} stands before those of another ratio than 1."""
    made: list[Numbers] = [
        {(path, name): (_under(path, tensor), axis, ratio) for path, _ in same}
        for tensor, axis, ratio in places[:MAX_READINGS]
    ]
    equal = sum(ratio == 1 for _, _, ratio in places[:MAX_READINGS])
    return [*made[:equal], {}, *made[equal:]]


def _meanings(
    name: str, same: Places, axes: Axes, asked: set[tuple[str, int]]
) -> list[tuple[str, int, Fraction]]:
    """Return the axes to whose length the attribute has the same ratio in all these modules.

    Tensors are named relative to the module. Axes with the same channels count once; equal lengths
    come first.
    """
    found: dict[tuple[Any, ...], tuple[str, int, Fraction]] = {}
    prefix = _under(same[0][0], "")
    for tensor, axis in axes:
        if not tensor.startswith(prefix):
            continue
        inner = tensor.removeprefix(prefix)
        places = [(_under(path, inner), axis) for path, _ in same]
        rows = [axes[place] for place in places if place in axes]
        if asked.isdisjoint(places) or len(rows) < len(same):
            continue
        counts = [vars(child).get(name) for _, child in same]
        for ratio in RATIOS:
            if [ratio * len(row) for row in rows] == counts:
                key = (ratio, *(row.tobytes() for row in rows))
                found.setdefault(key, (inner, axis, ratio))
    return sorted(found.values(), key=lambda meaning: RATIOS.index(meaning[2]))


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def renumber(module: nn.Module, numbers: Numbers) -> None:
    """Set the attributes that count channels by the lengths of their axes, in place."""
    for (path, name), (tensor, axis, ratio) in numbers.items():
        owner, field = owner_of(module, tensor)
        held = owner._parameters.get(field)
        held = owner._buffers.get(field) if held is None else held
        if isinstance(held, Tensor):
            setattr(module.get_submodule(path), name, int(held.shape[axis] * ratio))


def note_numbers(module: nn.Module, numbers: Iterable[tuple[str, str]]) -> None:
    """Record which attributes of a cut module differ from those that its code sets."""
    module.__dict__[NOTE] = sorted({*module.__dict__.get(NOTE, ()), *numbers})


def noted_numbers(module: nn.Module) -> list[tuple[str, str, int]]:
    """Return (module, attribute, value) of every recorded attribute, for a file."""
    present = {path: vars(child) for path, child in module.named_modules(remove_duplicate=False)}
    return [
        (path, name, present[path][name])
        for path, name in module.__dict__.get(NOTE, ())
        if name in present.get(path, ())
    ]


def restore_numbers(module: nn.Module, rows: Iterable[tuple[str, str, int]]) -> None:
    """Set the attributes that a file holds, in a module fresh from its factory.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: file and module do not belong together.
    """
    for path, name, value in rows:
        fields = vars(module.get_submodule(path))
        if type(fields[name]) is not int or type(value) is not int or not 0 < value <= fields[name]:
            raise ValueError(f"{_under(path, name)} is {fields[name]}, the file has {value}")
        fields[name] = value
        note_numbers(module, [(path, name)])
