"""Tensors of a file under the names of a module: which fit, and what had to be done for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gan_slimming.models.weights.names import canonical, squeezed
from gan_slimming.models.weights.norms import fold, split

_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_COUNTERS = (
    *("total_ops", "total_params", "n_averaged", "num_updates", "decay", "initted", "step"),
    "num_batches_tracked",
)
"""Last parts of the names of numbers that profilers and averages leave beside the weights."""
_NAMED = 3
"""Number of tensors named for each kind of misfit."""
_LEVELS = 3
"""Most levels of modules round a network, which a file of the network alone does not name."""


@dataclass
class Match:
    """How tensors fit a module."""

    state: dict[str, Tensor]
    """Name in the module, or in the file where the module has none such -> tensor.

    Counts of batches may be left out."""
    missing: list[str]
    """Names in the module for which the file has nothing."""
    unexpected: list[str]
    """Names in the file for which the module has no place."""
    wrong: dict[str, list[str]]
    """Kind of misfit -> tensors that have a name in both."""
    notes: list[str] = field(default_factory=list)
    """What was done to tensors, for texts."""

    @property
    def fits(self) -> bool:
        """Return whether every tensor has its place."""
        return not (self.missing or self.unexpected or any(self.wrong.values()))

    @property
    def misfits(self) -> list[str]:
        """Return one phrase for each kind of misfit."""
        kinds = {
            "missing": sorted(self.missing),
            "unexpected": sorted(self.unexpected),
            **self.wrong,
        }
        return [f"{kind} {_listed(sorted(names))}" for kind, names in kinds.items() if names]


def match(module: nn.Module, state: Mapping[str, Tensor]) -> Match:
    """Fit tensors to a module, which stays unchanged.

    Names may differ by what wrappers add, by a level round the whole network, and by the parts of
    weight and spectral norm. Running statistics that an old InstanceNorm2d saved without using
    them are dropped, and so are the counters of profilers. A count of batches that old versions of
    BatchNorm2d did not save is the module's own.

    Args:
        module: the module that is to receive the tensors; on the meta device for names alone.
        state: name -> tensor.
    """
    wanted = module.state_dict()
    notes: list[str] = []
    found = _renamed(wanted, state)
    found = _plain_weights(module, wanted, found, notes)
    found = _without_counters(module, wanted, found, notes)
    for name, tensor in wanted.items():
        if name in found and found[name].numel() == tensor.numel() == 1:
            found[name] = found[name].reshape(tensor.shape)
    return Match(
        found,
        missing=[n for n in wanted if n not in found and not n.endswith(_RUNNING[-1])],
        unexpected=[name for name in found if name not in wanted],
        wrong=_wrong(wanted, found),
        notes=notes,
    )


def _renamed(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the module's names, by the way of naming that fits most of them."""
    best, most = dict(state), len(wanted.keys() & state.keys())
    for naming in _namings(wanted):
        if most == len(wanted):
            break
        places = _unique(naming.of_module, wanted)
        given = _unique(naming.of_file, state)
        hits = len(places.keys() & given.keys())
        if hits > most:
            most = hits
            best = {places.get(key, naming.level + key): state[name] for key, name in given.items()}
            best |= {name: state[name] for name in state.keys() - set(given.values())}
    return best


@dataclass(frozen=True)
class _Naming:
    """A way in which names of a module and of a file may agree."""

    of_module: Callable[[str], str]
    of_file: Callable[[str], str] = canonical
    level: str = ""
    """What the module's names have in front."""


def _namings(wanted: Iterable[str]) -> list[_Naming]:
    """Return the ways to try: without wrappers, without dots, without a level round the network."""
    ways = [_Naming(canonical), _Naming(squeezed, squeezed)]
    names = [canonical(name).split(".") for name in wanted]
    for levels in range(1, _LEVELS + 1):
        fronts = {tuple(name[:levels]) for name in names if len(name) > levels}
        if len(fronts) == 1 and all(len(name) > levels for name in names):
            ways.append(_Naming(_inside(levels), level=f"{'.'.join(fronts.pop())}."))
    return ways


def _inside(levels: int) -> Callable[[str], str]:
    return lambda name: ".".join(canonical(name).split(".")[levels:])


def _unique(key: Callable[[str], str], names: Iterable[str]) -> dict[str, str]:
    """Return key -> name, for keys that one name alone has."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(key(name), []).append(name)
    return {value: several[0] for value, several in found.items() if len(several) == 1}


def _plain_weights(
    module: nn.Module, wanted: Mapping[str, Tensor], state: dict[str, Tensor], notes: list[str]
) -> dict[str, Tensor]:
    """Fold the parts of norms where the module has a plain weight; split where it has the parts."""
    bare = {canonical(name): name for name in state if name not in wanted}
    if not bare:
        return state
    parts = {key: state[name] for key, name in bare.items()}
    layers = dict(module.named_modules())
    folded = 0
    for name in [name for name in wanted if name not in state]:
        stem = canonical(name)
        if made := fold(stem, parts, layers.get(name.rpartition(".")[0])):
            state = {n: t for n, t in state.items() if n not in {bare[part] for part in made[1]}}
            state[name] = made[0]
            folded += 1
        elif stem.endswith("_g") and f"{stem[:-2]}" in parts:
            direction = next((n for n in wanted if canonical(n) == f"{stem[:-2]}_v"), None)
            if direction is not None and direction not in state:
                weight = state.pop(bare[stem[:-2]])
                state[name], state[direction] = split(weight, wanted[name].shape)
                folded += 1
    if folded:
        notes.append(f"weight or spectral norm of {folded} weight(s) converted")
    return state


def _without_counters(
    module: nn.Module, wanted: Mapping[str, Tensor], state: dict[str, Tensor], notes: list[str]
) -> dict[str, Tensor]:
    """Drop numbers of profilers, and running statistics that no InstanceNorm2d of ours uses."""
    unused = {
        f"{name}.{part}" if name else part
        for name, child in module.named_modules()
        if isinstance(child, nn.modules.instancenorm._InstanceNorm)
        and not child.track_running_stats
        for part in _RUNNING
    }
    counters = {
        name
        for name, tensor in state.items()
        if name not in wanted and tensor.numel() == 1 and name.rpartition(".")[2] in _COUNTERS
    }
    if dropped := counters - unused:
        notes.append(f"{len(dropped)} counter(s) such as {min(dropped)} dropped")
    return {n: t for n, t in state.items() if n not in unused and n not in counters}


def _wrong(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return the tensors of another shape or kind than the module's, and those not finite."""
    wrong: dict[str, list[str]] = {"misshapen": [], "not floating point": [], "not finite": []}
    for name in wanted.keys() & given.keys():
        tensor, shape = given[name], wanted[name].shape
        if tensor.shape != shape:
            text = f"{name} is {_shape(tensor.shape)}, expected {_shape(shape)}"
            wrong["misshapen"].append(text)
        elif wanted[name].is_floating_point() and not tensor.is_floating_point():
            wrong["not floating point"].append(f"{name} ({tensor.dtype})")
        elif not tensor.is_meta and not tensor.isfinite().all():
            wrong["not finite"].append(name)
    return wrong


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _shape(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "a scalar"
