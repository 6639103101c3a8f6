"""Networks by name: those of this package, and any 'package.module:factory'."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_slimming.config import WeightsFile
from gan_slimming.data.own_code import call_factory
from gan_slimming.errors import UserError, one_line
from gan_slimming.models.checkpoints import read_candidates
from gan_slimming.models.entry import Entry
from gan_slimming.models.weights.candidates import Candidate
from gan_slimming.models.weights.choice import Fit, Fitted, choose
from gan_slimming.models.weights.matching import match
from gan_slimming.models.weights.names import canonical

DEPTHS = ("blocks", "downs", "layers")
"""Arguments that count layers."""
MOST_LAYERS = 1000
"""Of such an argument; more would be built until memory is full."""
MOST_NUMBER = 1 << 16
"""Largest number among a generator's arguments, such as a width."""


def text_of(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a network as text: name(width=64, blocks=9)."""
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"


@dataclass(frozen=True)
class Catalogue:
    """All networks of one kind."""

    kind: str
    """'generator' or 'discriminator', for error texts."""
    entries: Mapping[str, Entry]

    def names(self) -> list[str]:
        """Return the registered names, in alphabetical order."""
        return sorted(self.entries)

    def entry(self, name: str) -> Entry:
        """Return the entry of a registered name, or raise a UserError."""
        if name not in self.entries:
            raise UserError(
                f"no {self.kind} is called {name!r}; take one of {', '.join(self.names())}, "
                "or your own as package.module:factory"
            )
        return self.entries[name]

    def build(self, name: str, arguments: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
        """Build a network; return it with its arguments, all of them for a registered name.

        Raises:
            UserError: an unknown name or argument, or a factory that fails.
        """
        if ":" in name:
            return self._call(name, arguments), dict(arguments)
        entry = self.entry(name)
        resolved = _resolve(name, entry, arguments)
        try:
            return entry.factory(**resolved), resolved
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{text_of(name, resolved)} cannot be built: {one_line(error)}"
            ) from error

    def load(
        self, name: str, weights: WeightsFile, arguments: dict[str, Any]
    ) -> tuple[nn.Module, dict[str, Any]]:
        """Build a network in float32 with the weights of a file; return it with its arguments.

        Missing arguments of a registered name are inferred from the weights.

        Raises:
            UserError: as build; the file cannot be read; nothing in it fits, or several do.
        """
        found = read_candidates(weights)
        fit = self._fit_own if ":" in name else self._fit_registered
        path = Path(weights)
        chosen = choose(found, fit(name, arguments), self.kind, path)
        module = chosen.module
        if ":" not in name:
            module = self.build(name, dict(chosen.arguments))[0].float()
        module.load_state_dict(chosen.match.state, strict=False)  # counts of batches may lack
        return module, dict(chosen.arguments)

    def _fit_own(self, name: str, arguments: dict[str, Any]) -> Fit:
        """Return how candidates are laid over the module of a user's own factory."""
        module = self._call(name, arguments).float()

        def fit(candidate: Candidate) -> Fitted:
            text = text_of(name, arguments)
            return Fitted(candidate, module, match(module, candidate.state), text, arguments)

        return fit

    def _fit_registered(self, name: str, arguments: dict[str, Any]) -> Fit:
        """Return how candidates are laid over the module that their shapes ask for."""
        entry = self.entry(name)
        built: dict[str, tuple[nn.Module, dict[str, Any]]] = {}  # a file has dozens of candidates

        def fit(candidate: Candidate) -> Fitted:
            bare = {canonical(key): tensor for key, tensor in candidate.state.items()}
            state = entry.adapt(bare)
            wanted = entry.infer(state) | entry.fixed | arguments
            if (known := text_of(name, wanted)) not in built:
                with torch.device("meta"):  # shapes and names are enough
                    built[known] = self.build(name, wanted)
            module, resolved = built[known]
            text = text_of(name, resolved)
            return Fitted(candidate, module, match(module, state), text, resolved)

        return fit

    def _call(self, name: str, arguments: dict[str, Any]) -> nn.Module:
        """Return the module that the user's own 'package.module:factory' builds."""
        place, _, attribute = name.partition(":")
        if place in self.entries:
            raise UserError(f"{name!r} names weights as well; give {place} and {attribute} apart")
        module = call_factory(self.kind, name, arguments)
        if not isinstance(module, nn.Module):
            raise UserError(
                f"{self.kind} {name} must return a torch.nn.Module, got {type(module).__name__}"
            )
        return module


def _resolve(name: str, entry: Entry, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of a registered factory: given, fixed by the name, or its defaults."""
    parameters = inspect.signature(entry.factory).parameters
    if unknown := sorted(set(arguments) - set(parameters)):
        raise UserError(
            f"{name} has no argument {', '.join(unknown)}; it takes {', '.join(parameters)}"
        )
    for key, value in entry.fixed.items():
        if arguments.get(key, value) != value:
            raise UserError(f"{name} has {key}={value}, got {key}={arguments[key]}; leave it out")
    for key, value in arguments.items():
        most = MOST_LAYERS if key in DEPTHS else MOST_NUMBER
        if isinstance(value, int | float) and not -most <= value <= most:
            raise UserError(f"{name} takes {key} up to {most:,}, got {value}")
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    return defaults | entry.fixed | arguments
