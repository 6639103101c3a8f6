"""A trial cut: does the module without some channels compute what it does with them at zero?

The graph of a module does not tell whether its forward writes `x.view(n, 128, 8, 8)` or
`x.view(n, -1, 8, 8)`. So generators that do anything unusual are cut once for trial, in float64, on
copies with random parameters. What cannot be cut for a number in the forward is held; any other
difference is a refusal, because the project never guesses.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gan_slimming.config import UserError
from gan_slimming.pruning.groups import GATE, ChannelGroup, GroupGraph, owner_of, restrict
from gan_slimming.pruning.slicing import output_axis, slice_tensors

NAMED = (
    "its forward names the number of channels in a view/split; write -1 there to let it be slimmed"
)
EXACT = {torch.float64: 1e-8, torch.float32: 1e-3}
"""Largest difference, relative to the largest output."""


def hold_what_cannot_be_cut(
    module: nn.Module, example: tuple[Any, ...], graph: GroupGraph, named: set[str]
) -> None:
    """Protect, in place, the groups that the forward itself counts.

    Args:
        named: groups that went through a view, a split or the like.
    Raises:
        UserError: other groups whose removal changes the function.
    """
    trial = _Trial.of(module, example, graph)
    if trial is None or trial.passes(graph.prunable):
        return
    suspects = [group for group in graph.prunable if group.name in named]
    others = [group for group in graph.prunable if group.name not in named]
    if not trial.passes(others):
        culprit = trial.culprits(others)[0]
        raise UserError(
            f"taking channels out of '{culprit.name}' would change what the generator computes, "
            f"or stop it ({trial.trouble}); keep them with --protect '{_module_of(culprit)}'"
        )
    for group in trial.culprits(suspects):
        group.protected = NAMED
    if not trial.passes(graph.prunable):
        for group in suspects:
            group.protected = NAMED


def _module_of(group: ChannelGroup) -> str:
    """A module whose protection holds the group."""
    names = [member.tensor.rpartition(".")[0] for member in (*group.gated, *group.members)]
    modules = [name.rpartition(".")[0] if "@" in name else name for name in names]
    return next((name for name in modules if name), group.name)


@dataclass
class _Trial:
    """A copy of the module with random parameters, and what it is tried on."""

    module: nn.Module
    example: tuple[Any, ...]
    graph: GroupGraph
    tolerance: float
    trouble: str = ""

    @classmethod
    def of(cls, module: nn.Module, example: tuple[Any, ...], graph: GroupGraph) -> _Trial | None:
        """In float64, or in the module's own type where its forward insists on that."""
        if not graph.prunable:
            return None
        for dtype in (torch.float64, next(module.parameters()).dtype):
            trial = cls(
                _randomised(copy.deepcopy(module).eval().to(dtype)),
                tuple(_as(value, dtype) for value in example),
                graph,
                EXACT.get(dtype, 1e-3),
            )
            try:
                trial.run(trial.module)
            except Exception as error:  # whatever a forward that was not asked for float64 raises
                trial.trouble = str(error)
            else:
                return trial
        return None

    def passes(self, groups: Sequence[ChannelGroup]) -> bool:
        """Whether half of the channels, and all but one, can be taken out of these groups."""
        groups = [group for group in groups if group.channels > 1]
        return not groups or all(self._exact(groups, few=few) for few in (False, True))

    def culprits(self, groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
        """Those that fail on their own, by halves."""
        if self.passes(groups):
            return []
        if len(groups) == 1:
            return list(groups)
        middle = len(groups) // 2
        found = self.culprits(groups[:middle]) + self.culprits(groups[middle:])
        return found or list(groups)

    def _exact(self, groups: Sequence[ChannelGroup], *, few: bool) -> bool:
        keep = {group.name: _mask(group.channels, number, few) for number, group in
                enumerate(groups)}  # fmt: skip
        masked = copy.deepcopy(self.module)
        for group in groups:
            _silence(masked, group, keep[group.name])
        expected = self.run(masked)
        slice_tensors(masked, restrict(self.graph, keep))
        try:
            found = self.run(masked)
        except Exception as error:  # a forward that meets shapes it does not expect
            self.trouble = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return False
        self.trouble = "the result differs"
        return len(found) == len(expected) and all(
            a.shape == b.shape and _close(a, b, self.tolerance)
            for a, b in zip(found, expected, strict=True)
        )

    @torch.no_grad()
    def run(self, module: nn.Module) -> list[Tensor]:
        """All tensors that come out, the same random numbers drawn each time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return list(_tensors(module(*self.example)))


def _close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    if not expected.is_floating_point():
        return bool((found == expected).all())
    top = expected.abs().max().clamp_min(1e-6) if expected.numel() else torch.tensor(1.0)
    return bool(((found - expected).abs() <= tolerance * top).all())


def _mask(channels: int, number: int, few: bool) -> Tensor:
    """(channels,) bool: about half of them, or one, drawn by the group's number."""
    generator = torch.Generator().manual_seed(number)
    order = torch.randperm(channels, generator=generator)
    half = int(torch.randint(1, channels, (), generator=generator)) if channels > 3 else 1
    mask = torch.zeros(channels, dtype=torch.bool)
    mask[order[: 1 if few else half]] = True
    return mask


@torch.no_grad()
def _silence(module: nn.Module, group: ChannelGroup, keep: Tensor) -> None:
    """Zero what the group's gates multiply, at the channels that are not kept."""
    for gate in group.gated:
        dead = gate.positions[~keep[gate.channels]]
        name, _, axis = gate.tensor.removesuffix(GATE).partition("@")
        if axis:
            owner, field = owner_of(module, name)
            places: Iterable[tuple[Any, int]] = [(owner._parameters[field], int(axis))]
        else:
            layer = module.get_submodule(name)
            places = [(layer._parameters.get("weight"), output_axis(layer))]
            places.append((layer._parameters.get("bias"), 0))
        for tensor, axis_of in places:
            if tensor is not None:
                tensor.index_fill_(axis_of, dead, 0.0)


@torch.no_grad()
def _randomised(module: nn.Module) -> nn.Module:
    """No parameter is zero or equal to its neighbour, so that nothing agrees by chance."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.is_floating_point():
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5
            spread = parameter.detach().double().std(correction=0).clamp_min(0.1)
            noise = noise * spread * torch.where(noise > 1, 1.0, -1.0)
            parameter.copy_(parameter * 0.5 + noise.to(parameter))
    return module


def _as(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        generator = torch.Generator().manual_seed(1)
        noise = torch.rand(value.shape, generator=generator, dtype=torch.float64) * 2 - 1
        return noise.to(value.device, dtype)
    return value


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
