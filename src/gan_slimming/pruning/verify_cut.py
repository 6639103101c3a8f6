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

import torch
from torch import Tensor, nn

from gan_slimming.data.whole_copy import whole_copy
from gan_slimming.errors import UserError
from gan_slimming.pruning.channel_attributes import Axes, readings, renumber
from gan_slimming.pruning.groups import (
    GATE,
    ChannelGroup,
    GroupGraph,
    Numbers,
    owner_of,
    restrict,
)
from gan_slimming.pruning.random_copies import drawn, randomised, tensors
from gan_slimming.pruning.slicing import output_axis, slice_tensors
from gan_slimming.pruning.tied import tie, tied_groups

NAMED = (
    "its forward names the number of channels in a view/split; write -1 there to let it be slimmed"
)
CHANGES = "without them the generator computes something else, or stops"
EXACT = {torch.float64: 1e-8, torch.float32: 1e-3}
"""dtype -> largest difference, relative to the largest output."""
SPECIAL = (2, 3, 4)
"""Numbers of channels that a forward may treat apart, because images have them."""


def hold_what_cannot_be_cut(
    module: nn.Module,
    example: tuple[Any, ...],
    graph: GroupGraph,
    named: set[str],
    axes: Axes,
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
    ties = tied_groups(module, graph.groups, fewer)
    if ties:
        held, fewer = check.choose_ties(held, fewer, ties, axes)
        suspects = [group for group in graph.prunable if group.name in named]
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
            inputs = tuple(drawn(value, dtype, low, small) for value in example)
            tolerance = EXACT.get(dtype, 1e-3)
            check = cls(copied if as_it_is else randomised(copied), inputs, graph, tolerance)
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

    def choose_ties(
        self,
        held: list[ChannelGroup],
        fewer: list[ChannelGroup],
        ties: Mapping[str, list[ChannelGroup]],
        axes: Axes,
    ) -> tuple[list[ChannelGroup], list[ChannelGroup]]:
        """Replace tied groups by one each, in place, if all of these can be cut then.

        Returns:
            The groups that a number holds, and those that fail whatever is read.
        """
        groups, numbers, self.graph.numbers = self.graph.groups, self.graph.numbers, {}
        made = {name: tie(parts) for name, parts in ties.items()}
        gone = {g.name for parts in ties.values() for g in parts} - made.keys()
        self.graph.groups = [made.get(g.name, g) for g in groups if g.name not in gone]
        names = {g.name for g in held} | made.keys()
        tied = [g for g in self.graph.prunable if g.name in names]
        left = self.choose_numbers(tied, readings(self.module, axes, tied))
        if not made.keys() & {g.name for g in left}:
            return tied, left
        self.graph.groups, self.graph.numbers = groups, numbers
        return held, fewer

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
            return list(tensors(module(*self.example)))


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
