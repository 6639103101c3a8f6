"""The methods that a table compares: stages that follow each other, each a part of the objective.

A file without `stages` is the settings of one run of `compress`, as for its --config.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from gan_slimming.config import Budget, Memory, Objective, Optimisation, Run
from gan_slimming.data.plain_yaml import read_yaml
from gan_slimming.errors import UserError
from gan_slimming.experiments.cec import Evolution
from gan_slimming.experiments.files import file_of, names_of, summary_of

MAKERS = ("compress", "narrow", "quantize", "evolve")
BUDGETS = ("goal", "halfway", "none")
GROUPS = {"objective": Objective, "optimisation": Optimisation, "memory": Memory}


@dataclass(frozen=True)
class Narrow:
    """A uniformly narrow generator with fresh weights."""

    channels: float | None = None
    """Share of the teacher's channels that each layer keeps; None for as many as the budget
    allows."""

    def __post_init__(self) -> None:
        if self.channels is not None and not 0 < self.channels <= 1:
            raise UserError(f"narrow.channels must be in (0, 1], got {self.channels}")


@dataclass(frozen=True)
class Quantize:
    """Quantisation after training."""

    bits: int = 8
    """Bits per activation; weights have at most 7 unless `weight_bits` says more."""
    weight_bits: int | None = None


@dataclass(frozen=True)
class Stage:
    """One step from a generator to the next."""

    make: str = "compress"
    """compress (train), narrow (a narrow net from fresh weights), quantize (without training), or
    evolve (channel masks, Shu 2019)."""
    share: float = 1.0
    """Share of the row's steps or minutes, of a stage that trains."""
    budget: str = "goal"
    """goal: what the table compares at; halfway: its geometric mean with the teacher's cost; none:
    the size stays."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of what it does, as in the YAML of `compress`."""

    def __post_init__(self) -> None:
        if self.make not in MAKERS:
            raise UserError(f"a stage makes one of {', '.join(MAKERS)}, got {self.make!r}")
        if self.budget not in BUDGETS:
            raise UserError(f"a stage's budget is {', '.join(BUDGETS)}, got {self.budget!r}")
        if not 0 < self.share <= 1:
            raise UserError(f"a stage's share must be in (0, 1], got {self.share}")
        if self.make == "compress":
            run_of(self.settings)
        else:
            self.parsed()

    def parsed(self) -> Any:
        """Return the settings of a stage that does not train, as their dataclass."""
        kind = {"narrow": Narrow, "quantize": Quantize, "evolve": Evolution}[self.make]
        return checked(kind, self.settings, self.make)


@dataclass(frozen=True)
class Method:
    """A row of a table."""

    name: str
    summary: str
    """What it is, in one line."""
    stages: tuple[Stage, ...]


def method_names() -> list[str]:
    """Return the names of all methods."""
    return names_of("methods")


def load_method(name: str) -> Method:
    """Return a method by its name, or from a YAML file.

    Raises:
        UserError: there is none, or a setting is wrong; its file is named.
    """
    path = file_of("methods", name)
    content = read_yaml(path)
    try:
        if not isinstance(content, dict):
            raise UserError("a method is settings of compress, or a list of stages")
        listed = content.get("stages", [{"settings": content}])
        if not isinstance(listed, list) or not listed or ("stages" in content and len(content) > 1):
            raise UserError("stages is a list of at least one stage, and stands alone")
        stages = tuple(checked(Stage, stage, "stages") for stage in listed)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return Method(path.stem, summary_of(path), stages)


def run_of(settings: Mapping[str, Any]) -> Run:
    """Return the settings of a run from plain data, in the form of the YAML of `compress`.

    Raises:
        UserError: an entry is unknown or wrong.
    """
    given = dict(settings)
    for name, group in GROUPS.items():
        if name in given:
            given[name] = checked(group, given[name], name)
    if given.get("bits") == "none":
        given["bits"] = None
    return checked(Run, given, "")


def checked(kind: type, entries: Any, place: str) -> Any:
    """Return a dataclass from plain data. Raises UserError for what it does not take."""
    dot = f"{place}." if place else ""
    if not isinstance(entries, Mapping):
        raise UserError(f"{place or 'settings'} must be a list of 'name: value', got {entries!r}")
    hints = get_type_hints(kind)
    unknown = [str(name) for name in entries if name not in hints]
    if unknown:
        raise UserError(f"there is no setting {dot}{unknown[0]}; take one of {', '.join(hints)}")
    try:
        return kind(**entries)
    except TypeError as error:
        raise UserError(f"{place or 'settings'}: wrong kind of value ({error})") from error


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with changes; groups inside are merged, too."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        result[key] = merged(old, value) if both else value  # pyright: ignore[reportArgumentType]
    return result


def budget_of(budget: Mapping[str, Any], which: str, whole: float) -> Budget:
    """Return a stage's budget.

    Args:
        budget: kind -> amount, of the goal.
        which: one of BUDGETS.
        whole: the teacher's cost of that kind.
    """
    if which == "none":
        return Budget()
    goal = checked(Budget, budget, "budget")
    if which == "goal" or goal.kind is None:
        return goal
    share = goal.amount(whole) / whole
    return dataclasses.replace(Budget(), **{goal.kind: share**0.5})
