"""A verified cut: does the module without some channels equal the module with them at zero?

The graph of a module does not tell whether its forward says `x.view(n, 128, 8, 8)` or
`x.view(n, -1, 8, 8)`. So unusual generators are cut once as a test, in float64, on copies with
random parameters. Groups that cannot be cut exactly are protected, because this package never
guesses: those blocked by a number in the forward, and any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_slimming.data.whole_copy import whole_copy
from gan_slimming.errors import UserError
from gan_slimming.pruning.channel_attributes import readings, renumber
from gan_slimming.pruning.groups import (
    GATE,
    ChannelGroup,
    GroupGraph,
    Numbers,
    owner_of,
    restrict,
)
from gan_slimming.pruning.slicing import output_axis, slice_tensors

NAMED = (
    "its forward names the number of channels in a view/split; write -1 there to let it be slimmed"
)
CHANGES = "without them the generator computes something else, or stops"
EXACT = {torch.float64: 1e-8, torch.float32: 1e-3}
"""dtype -> largest difference, relative to the largest output."""
SPECIAL = (2, 3, 4)
"""Numbers of channels that a forward may treat apart, because images have them."""
SMALL = 64
"""Pixels per side to which images are halved for the test."""


def hold_what_cannot_be_cut(
    module: nn.Module,
    example: tuple[Any, ...],
    graph: GroupGraph,
    named: set[str],
    axes: Mapping[tuple[str, int], np.ndarray],
) -> None:
    """Protect, in place, the groups whose channel count is a number in the forward's source.

    If the count is an attribute of a module and can be cut exactly, the graph records it instead.

    Args:
        named: groups that went through a view, a split or the like.
        axes: (tensor, axis) -> the channels on it.
    Raises:
        UserError: the output is never finite.
    """
    check = _CutCheck.of(module, example, graph)
    if check is None or check.passes(graph.prunable):
        return
    suspects = [group for group in graph.prunable if group.name in named]
    others = [group for group in graph.prunable if group.name not in named]
    for group in check.culprits(others):
        group.protected = f"{CHANGES} ({check.trouble})"
    held = check.culprits(suspects)
    fewer = check.choose_numbers(held, readings(module, axes, held))
    if fewer:
        fewer = check.choose_numbers(fewer, readings(module, axes, fewer, alone=True))
    numbers = graph.numbers
    for graph.numbers, failing in ((numbers, fewer), ({}, held), ({}, suspects)):
        if check.passes([group for group in graph.prunable if group not in failing]):
            for group in failing:
                group.protected = NAMED
            check.find_special_widths(suspects)
            return
    for group in suspects:
        group.protected = NAMED
    if not check.passes(graph.prunable):  # each can be cut, but not all together
        for group in graph.prunable:
            group.protected = f"{CHANGES} ({check.trouble})"


@dataclass
class _CutCheck:
    """A copy of the module with random parameters, and inputs to compare outputs on."""

    module: nn.Module
    example: tuple[Any, ...]
    graph: GroupGraph
    tolerance: float
    trouble: str = ""

    @classmethod
    def of(cls, module: nn.Module, example: tuple[Any, ...], graph: GroupGraph) -> _CutCheck | None:
        """Prepare a check on small images in float64, or in the example's size or dtype if needed.

        Raises:
            UserError: the output is never finite.
        """
        if not graph.prunable:
            return None
        ran, own = False, next(module.parameters()).dtype
        for dtype, small, low, as_it_is in product(
            (torch.float64, own), (True, False), (-1.0, 0.0), (False, True)
        ):
            copied = whole_copy(module).to(dtype)
            copied.eval()
            inputs = tuple(_drawn(value, dtype, low, small) for value in example)
            tolerance = EXACT.get(dtype, 1e-3)
            check = cls(copied if as_it_is else _randomised(copied), inputs, graph, tolerance)
            try:
                found = check.run(check.module)
            except Exception as error:  # the forward may reject these inputs in any way
                check.trouble = str(error)
                continue
            ran = True
            if all(bool(value.isfinite().all()) for value in found):
                return check
        if ran:
            raise UserError(
                "the generator's output for random input is infinite or no number (NaN), so it "
                "cannot be checked that taking channels out leaves it as it is; see to its weights"
            )
        return None

    def passes(self, groups: Sequence[ChannelGroup]) -> bool:
        """Return whether a random share of the channels, and all but one, can be cut exactly."""
        groups = [group for group in groups if group.channels > 1]
        return not groups or all(self._exact(groups, few=few) for few in (False, True))

    def culprits(self, groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
        """Return the groups that fail on their own, by bisection."""
        if self.passes(groups):
            return []
        if len(groups) == 1:
            return list(groups)
        middle = len(groups) // 2
        found = self.culprits(groups[:middle]) + self.culprits(groups[middle:])
        return found or list(groups)

    def choose_numbers(
        self, held: Sequence[ChannelGroup], found: Mapping[str, Sequence[Numbers]]
    ) -> list[ChannelGroup]:
        """Choose a reading of each attribute so that the fewest groups fail.

        Returns:
            The groups that still fail.
        """
        before = self.graph.numbers
        chosen = {name: meanings[0] for name, meanings in found.items()}

        def failing(groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
            now = {k: v for numbers in chosen.values() for k, v in numbers.items()}
            self.graph.numbers = before | now
            return [] if self.passes(groups) else [g for g in groups if not self.passes([g])]

        fewest = failing(held) if chosen else list(held)
        for name, meanings in found.items():
            for other in meanings[1:]:
                last = chosen[name]
                asked = _counted(held, last, other)
                if not any(group in asked for group in fewest):
                    continue
                chosen[name] = other
                now = [g for g in fewest if g not in asked] + failing(asked)
                fewest, chosen[name] = (now, other) if len(now) < len(fewest) else (fewest, last)
        failing([])
        return fewest

    def find_special_widths(self, groups: Sequence[ChannelGroup]) -> None:
        """Note, in place, the small widths at which a counted group cannot be cut exactly."""
        counted = {place[:2] for place in self.graph.numbers.values()}
        for group in groups:
            if group.protected or counted.isdisjoint((m.tensor, m.axis) for m in group.members):
                continue
            widths = (width for width in SPECIAL if width < group.channels)
            failing = (w for w in widths if not self._exact([group], width=w))
            group.avoid = frozenset(failing)

    def _exact(self, groups: Sequence[ChannelGroup], *, few: bool = False, width: int = 0) -> bool:
        keep = {
            group.name: _mask(group.channels, number, few, width)
            for number, group in enumerate(groups)
        }
        small = whole_copy(self.module)
        slice_tensors(small, restrict(self.graph, keep))
        renumber(small, self.graph.numbers)
        try:
            found = self.run(small)
        except Exception as error:  # a forward that meets shapes it does not expect
            self.trouble = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return False
        masked = whole_copy(self.module)
        for group in groups:
            _silence(masked, group, keep[group.name])
        expected = self.run(masked)
        self.trouble = "the result differs"
        return len(found) == len(expected) and all(
            a.shape == b.shape and _close(a, b, self.tolerance)
            for a, b in zip(found, expected, strict=True)
        )

    @torch.no_grad()
    def run(self, module: nn.Module) -> list[Tensor]:
        """Return all output tensors, with the same random numbers each time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return list(_tensors(module(*self.example)))


def _counted(groups: Sequence[ChannelGroup], *meanings: Numbers) -> list[ChannelGroup]:
    """Return the groups whose channels one of these readings counts."""
    counted = {place[:2] for numbers in meanings for place in numbers.values()}
    return [g for g in groups if any((m.tensor, m.axis) in counted for m in g.members)]


def _close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    if not expected.is_floating_point():
        return bool((found == expected).all())
    top = expected.abs().max().clamp_min(1e-6) if expected.numel() else torch.tensor(1.0)
    return bool(((found - expected).abs() <= tolerance * top).all())


def _mask(channels: int, number: int, few: bool, width: int) -> Tensor:
    """Draw (channels,) bool by the group's number: keep so many, one, or a random share."""
    generator = torch.Generator().manual_seed(number)
    order = torch.randperm(channels, generator=generator)
    half = int(torch.randint(1, channels, (), generator=generator)) if channels > 3 else 1
    mask = torch.zeros(channels, dtype=torch.bool)
    mask[order[: width or (1 if few else half)]] = True
    return mask


@torch.no_grad()
def _silence(module: nn.Module, group: ChannelGroup, keep: Tensor) -> None:
    """Zero the group's gated tensors at the channels that are not kept."""
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
    """Randomise all parameters, in place, so that nothing is zero or agrees by chance."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.is_floating_point():
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5
            spread = parameter.detach().double().std(correction=0).clamp_min(0.1)
            noise = noise * spread * torch.where(noise > 1, 1.0, -1.0)
            parameter.copy_(parameter * 0.5 + noise.to(parameter))
    return module


def _drawn(value: Any, dtype: torch.dtype, low: float, small: bool) -> Any:
    """Draw random numbers from `low` to 1 in a tensor's shape, with sides near 64 if `small`."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    shape = list(value.shape)
    for axis in range(2, len(shape)) if small else ():
        while shape[axis] > SMALL and shape[axis] % 2 == 0:
            shape[axis] //= 2
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(shape, generator=generator, dtype=torch.float64) * (1 - low) + low
    return noise.to(value.device, dtype)


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
