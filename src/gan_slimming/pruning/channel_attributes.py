"""Channel counts that a user's modules keep as attributes, as torch's own layers do.

`weight.view(batch, self.out_channels, ...)` can be cut if `self.out_channels` is cut with it. An
attribute is a candidate if it equals the length of one tensor axis in every module of its class.
`verify_cut` then tests whether it really counts these channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product

import numpy as np
from torch import Tensor, nn

from gan_slimming.pruning.groups import ChannelGroup, Numbers, owner_of
from gan_slimming.pruning.pruned_norms import PRUNED_NORMS

NOTE = "remembered_numbers"
"""Key under which a cut module lists its changed attributes."""
OWN = set(PRUNED_NORMS.values())
"""Layers of this package, whose channel counts `slicing` updates."""
MAX_READINGS = 4
"""Number of readings tried per class, at most."""
Axes = Mapping[tuple[str, int], np.ndarray]
"""(tensor, axis) -> the channels on it."""


def readings(
    module: nn.Module, axes: Axes, groups: Iterable[ChannelGroup]
) -> dict[str, list[Numbers]]:
    """Map each of the user's classes to readings: which axes its attributes may count.

    Args:
        groups: groups whose channels are to be counted; other attributes are left out.
    """
    asked = {(member.tensor, member.axis) for group in groups for member in group.members}
    classes: dict[type[nn.Module], list[tuple[str, nn.Module]]] = defaultdict(list)
    for path, child in module.named_modules():
        if not type(child).__module__.startswith("torch.") and type(child) not in OWN:
            classes[type(child)].append((path, child))
    found = {
        f"{kind.__module__}.{kind.__qualname__}": list(
            islice(_of_class(same, axes, asked), MAX_READINGS)
        )
        for kind, same in classes.items()
    }
    return {kind: meanings for kind, meanings in found.items() if meanings}


def _of_class(
    same: list[tuple[str, nn.Module]], axes: Axes, asked: set[tuple[str, int]]
) -> Iterator[Numbers]:
    meanings = {}
    for name, value in vars(same[0][1]).items():
        if type(value) is int and value > 1 and (found := _meanings(name, same, axes, asked)):
            meanings[name] = found
    for choice in product(*meanings.values()) if meanings else ():
        yield {
            (path, name): (_under(path, tensor), axis)
            for path, _ in same
            for name, (tensor, axis) in zip(meanings, choice, strict=True)
        }


def _meanings(
    name: str, same: list[tuple[str, nn.Module]], axes: Axes, asked: set[tuple[str, int]]
) -> list[tuple[str, int]]:
    """Return the axes whose length equals the attribute in all modules of a class.

    Tensors are named relative to the module. Axes with the same channels count once.
    """
    found: dict[tuple[bytes, ...], tuple[str, int]] = {}
    prefix = _under(same[0][0], "")
    for tensor, axis in axes:
        if not tensor.startswith(prefix):
            continue
        inner = tensor.removeprefix(prefix)
        places = [(_under(path, inner), axis) for path, _ in same]
        rows = [axes[place] for place in places if place in axes]
        if asked.isdisjoint(places) or len(rows) < len(same):
            continue
        if [len(row) for row in rows] == [vars(child).get(name) for _, child in same]:
            found.setdefault(tuple(row.tobytes() for row in rows), (inner, axis))
    return list(found.values())


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def renumber(module: nn.Module, numbers: Numbers) -> None:
    """Set the attributes that count channels to the lengths of their axes, in place."""
    for (path, name), (tensor, axis) in numbers.items():
        owner, field = owner_of(module, tensor)
        held = owner._parameters.get(field)
        held = owner._buffers.get(field) if held is None else held
        if isinstance(held, Tensor):
            setattr(module.get_submodule(path), name, held.shape[axis])


def note_numbers(module: nn.Module, numbers: Numbers) -> None:
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
        note_numbers(module, {(path, name): ("", 0)})
